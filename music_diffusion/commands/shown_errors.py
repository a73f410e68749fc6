"""How errors are shown: a user's mistake in a line, all others as Python does."""

import os
import sys
from types import TracebackType

from music_diffusion.commands.error_lines import explain
from music_diffusion.commands.logging import above_bars


def show(error: BaseException) -> int | None:
    """Print a user's mistake in a line and return the exit status; None for other errors.

    With MUSIC_TRACEBACK in the environment there are only other errors.
    """
    explained = explain(error) if isinstance(error, Exception) else None
    if explained is None or os.environ.get("MUSIC_TRACEBACK"):
        return None
    message, status = explained
    with above_bars(sys.stderr):
        print(f"error: {message}", file=sys.stderr)
    return status


def excepthook(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Let a script end with a user's mistake in a line: sys.excepthook = md.excepthook.

    The status is that of the command line, 2 for a wrong path or option. What isn't a user's
    mistake keeps its traceback.
    """
    if (status := show(error)) is None:
        return sys.__excepthook__(kind, error, traceback)
    raise SystemExit(status)
