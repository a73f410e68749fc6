"""What is said of a job's sound while it is made, which a terminal shows and a page must, too."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SOUND = logging.getLogger("audio")  # the package that reads, fits in and writes sound


class Notices(logging.Handler):
    """Keeps what is logged in this thread, each line once."""

    def __init__(self, kept: list[str]):
        super().__init__(logging.INFO)
        self.kept, self.thread = kept, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.thread == self.thread and text not in self.kept:
            self.kept.append(text)


@contextmanager
def notices(kept: list[str]) -> Iterator[None]:
    """Add to a list what the package `audio` logs in this thread, a warning or not."""
    handler = Notices(kept)
    SOUND.addHandler(handler)
    try:
        yield
    finally:
        SOUND.removeHandler(handler)
