"""Seeds: -1 is one drawn at random, which is told so that it can be given again."""

import logging
import os
import secrets

from foundation.errors import UserError

log = logging.getLogger(__name__)
RANDOM = -1
LIMIT = 2**31
LARGEST = 2**62  # torch's generators take one bit more: clips count up from here
LARGEST_OF_RUN = 2**32 - 1  # that numpy takes
OF_RUN = "PL_GLOBAL_SEED"  # set by Lightning, for the processes that it starts as well


def chosen_seed(seed: int, largest: int = LARGEST) -> int:
    """Return a seed, or one drawn at random for -1; UserError for others out of range."""
    if 0 <= seed <= largest:
        return seed
    if seed != RANDOM:
        raise UserError(
            f"a seed must be at least 0 and at most {largest}, or -1 for one drawn at random, "
            f"got {seed}"
        )
    drawn = secrets.randbelow(LIMIT)
    log.info("seed %d, drawn at random", drawn)
    return drawn


def seed_of_processes(seed: int) -> int:
    """Return the seed of a training, alike in all of its processes."""
    if seed == RANDOM and "LOCAL_RANK" in os.environ and OF_RUN in os.environ:
        return int(os.environ[OF_RUN])  # the first process has drawn it
    return chosen_seed(seed, LARGEST_OF_RUN)
