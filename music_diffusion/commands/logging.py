"""What the command line prints while it works: our packages' events, above progress bars."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import TextIOWrapper
from typing import TextIO

from foundation.packages import PACKAGES

DULL_WARNINGS = (
    ".*LeafSpec",
    "The number of training batches .* is smaller than the logging interval",
    "The '.*_dataloader' does not have many workers",
    "Attribute 'codec' is an instance of `nn.Module`",  # checkpoints hold its settings
    r"It is recommended to use `self.log\('[fk]ad/",  # alike on all processes
)


def above_bars(stream: TextIO) -> AbstractContextManager:
    """Let what is printed stand on a line of its own, above progress bars."""
    bars = sys.modules.get("tqdm")  # none where nothing has imported it
    return bars.tqdm.external_write_mode(stream) if bars else nullcontext()


class AboveBars(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        with above_bars(sys.stderr):
            print(self.format(record), file=sys.stderr)


@contextmanager
def events_shown(shown: bool = True) -> Iterator[None]:
    """Print events while the block runs, as the command line does, where nothing else takes them.

    A program that logs our packages at INFO itself keeps its own way.
    """
    loggers = [logging.getLogger(name) for name in PACKAGES]
    if not shown:
        with warnings_alone():
            yield
        return
    if all(one.isEnabledFor(logging.INFO) and one.hasHandlers() for one in loggers):
        yield
        return
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    report_events()
    try:
        yield
    finally:
        for one, (handlers, propagate, level) in zip(loggers, before, strict=True):
            one.handlers, one.propagate, one.level = handlers, propagate, level


def as_quiet_as_events() -> AbstractContextManager:
    """Hide Lightning's start-up lines where this package's events aren't shown: in Python."""
    shown = logging.getLogger("music_diffusion").isEnabledFor(logging.INFO)
    return nullcontext() if shown else warnings_alone()


@contextmanager
def warnings_alone() -> Iterator[None]:
    """Hide what Lightning says below a warning, and warnings that mean nothing here."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(max(one.level, logging.WARNING))
    try:
        with warnings.catch_warnings():
            hide_dull_warnings()
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)


def report_events() -> None:
    """Print what our packages log; leave out Lightning's tips and what means nothing here."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr, for names that aren't UTF-8
    handler = AboveBars()
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    dull = ("Tip:", "`weights_only` was not set", "GPU available: False", "TPU available: False")
    for part in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logger = logging.getLogger(f"lightning.pytorch.{part}")
        logger.addFilter(lambda record: not any(words in record.getMessage() for words in dull))
    hide_dull_warnings()


def hide_dull_warnings() -> None:
    for message in DULL_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
