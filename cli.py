"""The command line: python cli.py COMMAND --help."""

import sys

from music_diffusion.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
