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
echo "axe-playwright-python==0.1.8 --hash=sha256:fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8" \
  > "$work/axe.txt"  # MIT, with axe-core 4.12.1, MPL-2.0
"$python" -m pip --python "$work/env/bin/python" install --quiet --disable-pip-version-check \
  --no-deps --requirement "$work/axe.txt"
export OMP_NUM_THREADS=1
# the command itself, which the tests below don't call, with folders as people name them
mkdir -p "$work/my music" "$work/runs"
"$work/env/bin/python" cli.py studio "$work/runs" "$work/my music" --out "$work/made" --port 7872 \
  > "$work/studio.log" 2>&1 &
server=$!
until grep -q "127.0.0.1:7872" "$work/studio.log"; do
  kill -0 "$server" 2> /dev/null || { cat "$work/studio.log" >&2; exit 1; }
  sleep 0.5
done
"$work/env/bin/python" -c "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:7872').status)"
kill "$server"
wait "$server" || true
# without playwright's event loop, which forbids others; the rest of tests/studio needs no gradio
"$work/env/bin/python" -m pytest tests/studio/test_attacks.py -p no:cacheprovider
"$work/env/bin/python" -m pytest tests/studio/test_browser.py tests/studio/test_access.py \
  -p no:cacheprovider "$@"
