#!/usr/bin/env bash
# Test the codecs of transformers and diffusers in an environment of its own: with transformers
# installed, every start of Lightning takes a second more, because torchmetrics imports it.
# All other packages are those of $PYTHON, so that torch is not installed a second time.
. "$(dirname "$0")/environment.sh"

cd "$root"
make_environment_with -r requirements-codecs.txt
OMP_NUM_THREADS=1 "$work/env/bin/python" -m pytest tests/codec/test_pretrained.py -p no:cacheprovider "$@"
