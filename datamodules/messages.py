"""Messages of data modules."""

import logging

from lightning.pytorch.utilities import rank_zero_only

from foundation.files import printable

log = logging.getLogger(__name__)


@rank_zero_only
def log_once(level: int, message: str) -> None:
    """Log a message on one process of all; names in it needn't be UTF-8."""
    log.log(level, printable(message))
