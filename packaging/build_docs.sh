#!/usr/bin/env bash
# Build the documentation's site into site/, in an environment of its own; any warning is an error.
# The project's dependencies are those of $PYTHON: the command reference asks the program itself.
. "$(dirname "$0")/environment.sh"

cd "$root"
make_environment_with -r requirements-docs.txt
export NO_MKDOCS_2_WARNING=1
"$work/env/bin/python" -m mkdocs build --strict --quiet "$@"
echo "the documentation is built: site/index.html"
