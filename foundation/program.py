"""How this program was called, for messages that name a command."""

import shlex
import sys
from pathlib import Path

INSTALLED = "music-diffusion"  # the command after pip install .
CHECKOUT = ("cli.py", "download_ckpts.py")  # the scripts of a checkout
IS_CHECKOUT = (Path(__file__).parents[1] / CHECKOUT[0]).is_file()


def program() -> str:
    """Return the command as one types it here: `music-diffusion`, or `python PATH/cli.py`."""
    return _script(CHECKOUT[0]) or INSTALLED


def download_command() -> str:
    """Return the command that gets published weights, without their names."""
    return _script(CHECKOUT[1]) or f"{INSTALLED} download"


def _script(name: str) -> str | None:
    """Return how a script of the checkout is called; None if the installed command is meant.

    A program of the user's own and a notebook mean the scripts if they import the checkout.
    """
    called = Path(sys.argv[0])
    if called.name in CHECKOUT:
        return f"python {shlex.quote(str(called.with_name(name)))}"
    return f"python {name}" if IS_CHECKOUT and called.stem != INSTALLED else None
