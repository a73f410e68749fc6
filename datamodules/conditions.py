"""What a model can be told of the tracks, as the data has it."""

import logging
from collections import Counter
from collections.abc import Sequence

from datamodules.messages import log_once
from datamodules.metadata import FOLDER
from datamodules.tracks import Track
from foundation.conditions import Conditions, chosen, shortened
from foundation.errors import UserError


def label_conditions(tracks: Sequence[Track], fields: Sequence[str]) -> Conditions:
    """Collect the labels that tracks have in these fields of their metadata, the frequent first.

    Raises:
        UserError: for a field that there isn't, or that is empty for all tracks
    """
    counts, known = {name: Counter() for name in fields}, {}
    for track in tracks if fields else ():
        known |= dict.fromkeys(track.cond)
        for name, count in counts.items():
            count[track.cond.get(name, "")] += 1
    labels = []
    for name, count in counts.items():
        chosen("metadata", name, known)
        missing = count.pop("", 0)
        if not count:
            where = "all lie in the folder itself" if name == FOLDER else "all rows are empty"
            raise UserError(f"labels: no track has a {name}, {where}: name another field")
        found = [value for value, _ in count.most_common()]
        labels += [f"{name}={value}" for value in found]
        said = shortened([f"{value} {count[value]}" for value in found], 12)
        log_once(logging.INFO, f"labels of {name}: {said}; without one {missing}")
    return Conditions(labels)


def unseen(conditions: Conditions, known: Conditions) -> str:
    """Name the labels that a model doesn't know; "" if there are none."""
    return shortened([label for label in conditions.labels if label not in known.labels], 8)
