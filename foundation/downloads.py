"""Downloads happen for names that the user typed, never for those that a file holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_allowed = ContextVar("downloads_allowed", default=True)


def downloads_allowed() -> bool:
    """Whether code that runs now may download what the user named."""
    return _allowed.get()


@contextmanager
def no_downloads() -> Iterator[None]:
    """Refuse downloads while a model is built from a file, which somebody else may have written."""
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)
