#!/usr/bin/env bash
# Test the codecs of transformers and diffusers in an environment of its own: with transformers
# installed, every start of Lightning takes a second more, because torchmetrics imports it.
# All other packages are those of $PYTHON, so that torch is not installed a second time.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$root" && realpath -s "${PYTHON:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$root"
"$python" -m venv --without-pip "$work/env"
site=$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/dependencies.pth"
sed 's/\[[a-z]*\]//' requirements.txt > "$work/constraints.txt"  # constraints take no extras
"$python" -m pip --python "$work/env/bin/python" install --quiet --disable-pip-version-check \
  --constraint "$work/constraints.txt" -r requirements-codecs.txt
OMP_NUM_THREADS=1 "$work/env/bin/python" -m pytest tests/codec/test_pretrained.py -p no:cacheprovider "$@"
