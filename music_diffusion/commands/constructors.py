"""Exceptions of constructors that the parser calls, as they were raised.

jsonargparse turns an exception of a class it makes into one of its own, several times over, and
the line of a user's class that raised it is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from traceback import walk_tb
from typing import TypeVar

from jsonargparse import add_instantiator

Made = TypeVar("Made")
watched = ContextVar("watched", default=False)


class Raised(BaseException):
    """Carries an exception past the parser, which catches those derived from Exception."""

    def __init__(self, error: Exception):
        self.error = error


@contextmanager
def errors_of_constructors() -> Iterator[None]:
    """Let what a constructor raises, called by a parser in here, come out as it is."""
    token = watched.set(True)
    try:
        yield
    except Raised as raised:
        error = raised.error
    except Exception as wrapped:  # Lightning's own way of making models
        error = original(wrapped)
    else:
        return
    finally:
        watched.reset(token)
    raise error


def original(error: BaseException) -> BaseException:
    """Return the exception that jsonargparse made another one of."""
    while error.__cause__ is not None and raised_in_parser(error):
        error = error.__cause__
    return error


def raised_in_parser(error: BaseException) -> bool:
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].startswith("jsonargparse")


def construct(class_type: type[Made], *args, **kwargs) -> Made:
    """Make an object for the parser."""
    if not watched.get():
        return class_type(*args, **kwargs)
    try:
        return class_type(*args, **kwargs)
    except Exception as error:
        raise Raised(error) from error


add_instantiator(construct, object)
