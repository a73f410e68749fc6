"""Download published weights: python download_ckpts.py --help."""

import sys

from music_diffusion.downloads.fetch import main

if __name__ == "__main__":
    sys.exit(main())
