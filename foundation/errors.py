"""The exceptions that mean a mistake of the user."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EMFILE, ENFILE
from signal import SIGTERM

TERMINATED = 128 + SIGTERM  # the exit status shells give a process ended by SIGTERM


class UserError(ValueError):
    """A wrong argument, file, setting or checkpoint; the message says what to do about it.

    The command line prints its message as one line and ends with status 2. Any other exception
    keeps its traceback, for it is an error in the code that raised it.
    """


class MissingFileError(UserError, FileNotFoundError):
    """There is no file or folder where the user said there is one."""


class RemoteError(UserError):
    """A file at an address can't be had now; no other is used in its place."""


class DivergedError(ArithmeticError):
    """Training left the finite numbers; the message says where and what to try.

    The command line prints its message as one line and ends with status 1.
    """


@contextmanager
def unreadable(problem: str, advice: str = "") -> Iterator[None]:
    """Turn whatever a parser raises over a damaged file into a UserError: `problem: reason`.

    Parsers of zip, pickle, YAML and numpy's files raise nearly any exception, also MemoryError and
    RecursionError: nothing but calls of them and checks of what they return stands in the block.
    What the system says of a file, that it isn't there or may not be read, passes as it is, and so
    does that no more can be opened.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and (error.filename or error.errno in (EMFILE, ENFILE)):
            raise
        raise UserError(f"{problem}: {reason_of(error)}{advice and f'; {advice}'}") from error


def reason_of(error: Exception) -> str:
    """Return the first sentence of what an error says, or its class where it says nothing."""
    said = " ".join((str(error).strip().splitlines() or [""])[0].split())
    return said.split(". ")[0] or type(error).__name__
