"""Messages of data modules."""

import logging

from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)


@rank_zero_only
def log_once(level: int, message: str) -> None:
    """Log a message on one process of all."""
    log.log(level, message)
