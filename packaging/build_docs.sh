#!/usr/bin/env bash
# Build the documentation's site into site/, in an environment of its own; any warning is an error.
# The project's dependencies are those of $PYTHON: the command reference asks the program itself.
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
  --constraint "$work/constraints.txt" -r requirements-docs.txt
export NO_MKDOCS_2_WARNING=1
"$work/env/bin/python" -m mkdocs build --strict --quiet "$@"
echo "the documentation is built: site/index.html"
