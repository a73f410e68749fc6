#!/usr/bin/env bash
# Test the studio in Chromium, in an environment of its own with gradio and playwright beside the
# packages of $PYTHON. Chromium is the system's: apt-get install chromium, or CHROMIUM=/path/to/it.
. "$(dirname "$0")/environment.sh"

cd "$root"
find_chromium() {
  for name in ${CHROMIUM:-chromium chromium-browser google-chrome}; do
    command -v "$name" && return
  done
  return 1
}
if ! find_chromium > /dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium || true
fi
if ! CHROMIUM=$(find_chromium); then
  echo "no Chromium (apt-get install chromium, or CHROMIUM=/path/to/it): its tests are skipped" >&2
fi
export CHROMIUM
make_environment_with -r requirements-ui.txt playwright==1.65.2
# without playwright's event loop, which forbids others; the rest of tests/studio needs no gradio
export OMP_NUM_THREADS=1
"$work/env/bin/python" -m pytest tests/studio/test_attacks.py -p no:cacheprovider
browser() {
  "$work/env/bin/python" -m pytest tests/studio/test_browser.py -p no:cacheprovider "$@"
}
browser "$@" || {
  echo "a browser's test failed; a slow machine can miss its times: all of them once more" >&2
  browser "$@"
}
