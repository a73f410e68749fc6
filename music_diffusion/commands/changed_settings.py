"""Which settings of a model aren't those of the checkpoint that is resumed."""

import logging
from collections.abc import Iterator, Mapping

from lightning.pytorch.utilities import rank_zero_only

from music_diffusion.commands.class_settings import INNER

log = logging.getLogger(__name__)
TOLD = ("learning_rate", "weight_decay")  # by callbacks.optimizer_settings, as they are used


@rank_zero_only
def tell_changes(then: Mapping, now: Mapping) -> None:
    """Log a line for each setting that both have, with another value."""
    before = dict(flat(then))
    for path, value in flat(now):
        if path not in TOLD and before.get(path, value) != value:
            log.info("resumed with model.%s %s, which was %s", path, value, before[path])


def flat(settings: Mapping, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of nested settings by the dotted names that options have."""
    for name, value in settings.items():
        place = path if name in INNER else f"{path}.{name}".lstrip(".")
        if isinstance(value, Mapping):
            yield from flat(value, place)
        else:
            yield place, list(value) if isinstance(value, tuple) else value
