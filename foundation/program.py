"""How this program was called, for messages that name a command."""

import sys
from pathlib import Path

INSTALLED = "music-diffusion"  # the command after pip install .


def program() -> str:
    """Return `music-diffusion`, or `python cli.py` from a checkout."""
    return INSTALLED if Path(sys.argv[0]).stem == INSTALLED else "python cli.py"


def download_command() -> str:
    """Return the command that gets published weights, without their names."""
    return f"{INSTALLED} download" if program() == INSTALLED else "python download_ckpts.py"
