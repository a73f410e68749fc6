# Sourced by the scripts beside it: $root, $python, a folder $work that goes when they end, and
# environments of their own that see the packages of $PYTHON, so that torch isn't installed twice.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$(cd "$root" && realpath -s "${PYTHON:-.venv/bin/python}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_environment() {  # FOLDER
  "$python" -m venv --without-pip "$1"
  local site
  site=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$site/dependencies.pth"
}

make_environment_with() {  # pip's arguments: what is installed into $work/env beside the pins
  make_environment "$work/env"
  sed 's/\[[a-z]*\]//' "$root/requirements.txt" > "$work/constraints.txt"  # these take no extras
  "$python" -m pip --python "$work/env/bin/python" install --quiet --disable-pip-version-check \
    --constraint "$work/constraints.txt" "$@"
}
