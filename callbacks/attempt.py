"""Work beside training that may fail: training goes on, with the random streams that it had."""

import logging
from collections.abc import Callable

from lightning.pytorch.utilities.seed import isolate_rng

log = logging.getLogger(__name__)


def attempt(work: Callable[..., None], *args: object) -> str | None:
    """Do what may fail without ending training, on random streams of its own; return the reason."""
    with isolate_rng():  # restores nothing after an exception, so none may leave it
        try:
            work(*args)
        except Exception as error:
            log.debug("where it failed", exc_info=True)
            return f"{type(error).__name__}: {error}"
    return None
