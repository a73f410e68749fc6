"""What a model can be told of the music: labels, tags, tempo and key."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from foundation.batch import Cond
from foundation.control import Control
from foundation.errors import UserError, unreadable
from foundation.musical_key import KEYS, key_number

TAGS, TEMPO, KEY = "tags", "tempo", "key"  # in a Cond: [B, tags], [B] in beats a minute, [B, 24]
CONDITIONS = "conditions"  # in a checkpoint
SHOWN = 40  # of the names in a message


@dataclass(frozen=True)
class Conditions:
    """What the music of a training was described by; it is written into checkpoints.

    Args:
        labels: FIELD=VALUE of each label
        tags: the tags, and for each the amount that counts as 1, which the music that has most of
            it has
        tempo: whether the tempo was
        key: whether the key was
    """

    labels: list[str] = field(default_factory=list)
    tags: dict[str, float] = field(default_factory=dict)
    tempo: bool = False
    key: bool = False

    def __bool__(self) -> bool:
        return bool(self.labels or self.tags or self.tempo or self.key)

    @property
    def fields(self) -> dict[str, list[str]]:
        """The values of each field of labels."""
        found: dict[str, list[str]] = {}
        for label in self.labels:
            name, _, value = label.partition("=")
            found.setdefault(name, []).append(value)
        return found

    @property
    def as_dict(self) -> dict:
        """These as plain values, for a checkpoint."""
        return asdict(self)

    def joined(self, more: "Conditions") -> "Conditions":
        """Return these, and after them what `more` has besides."""
        labels = list(dict.fromkeys([*self.labels, *more.labels]))
        tempo, key = self.tempo or more.tempo, self.key or more.key
        return Conditions(labels, {**more.tags, **self.tags}, tempo, key)

    def describe(self) -> str:
        """Name them in one line."""
        parts = [f"{name} ({shortened(values, 8)})" for name, values in self.fields.items()]
        parts += [f"{len(self.tags)} tags"] if self.tags else []
        parts += [name for name, there in ((TEMPO, self.tempo), (KEY, self.key)) if there]
        return ", ".join(parts)

    def cond(self, control: Control, count: int, device: torch.device | None = None) -> Cond:
        """Write what is asked for as the metadata of `count` examples; NaN is left to the model.

        Raises:
            UserError: for what the model wasn't trained with, with the names that it knows
        """
        cond: dict[str, list[str] | Tensor] = {}
        for name, value in self._labels(control).items():
            cond[name] = [value] * count
        if control.amounts:
            tags = torch.full((len(self.tags),), math.nan)
            for name, amount in control.amounts.items():
                place = list(self.tags).index(chosen("tag", name, self.tags))
                tags[place] = amount * self.tags[name]
            cond[TAGS] = tags.to(device).expand(count, -1)
        if control.tempo is not None:
            self._check(self.tempo, TEMPO)
            cond[TEMPO] = torch.full((count,), float(control.tempo), device=device)
        if control.key is not None:
            self._check(self.key, KEY)
            cond[KEY] = one_key(control.key).to(device).expand(count, -1)
        return cond

    def _labels(self, control: Control) -> dict[str, str]:
        """Find the fields of the labels that are asked for."""
        found, fields = {}, self.fields
        for name, value in control.labels.items():
            if name:
                values = fields[chosen("field of labels", name, fields)]
                found[name] = chosen(name, value, values)
                continue
            having = [name for name, values in fields.items() if value in values]
            if len(having) > 1:
                choice = " or ".join(f"{name}={value}" for name in having)
                raise UserError(f"the label {value!r} is of {len(having)} fields: give {choice}")
            if not having:
                chosen("label", value, [known for values in fields.values() for known in values])
            found[having[0]] = value
        return found

    def _check(self, there: bool, name: str) -> None:
        if not there:
            raise UserError(
                f"this model was trained without {name}, but with {self.describe()}: "
                f"leave out {name}"
            )


def conditions_in(checkpoint: Mapping, source: str) -> Conditions | None:
    """Return the conditions in what a file holds, if there are any."""
    plain = checkpoint.get(CONDITIONS)
    return None if plain is None else read_conditions(plain, source)


def read_conditions(plain: object, source: str) -> Conditions:
    """Read conditions from a file's plain values; UserError where they are none."""
    with unreadable(f"{source} holds conditions that can't be read"):
        if not isinstance(plain, Mapping):
            raise ValueError(f"a {type(plain).__name__}")
        made = Conditions(**plain)
        texts = [*made.labels, *made.tags]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("names must be texts")
        if not all(isinstance(top, float) and 0 < top < math.inf for top in made.tags.values()):
            raise ValueError("amounts of tags must be numbers above 0")
        if len(set(texts)) < len(texts) or not all("=" in label for label in made.labels):
            raise ValueError("labels must be different ones, each like FIELD=VALUE")
        return made


def one_key(text: str) -> Tensor:
    """Write a key [24] as the shares of all keys."""
    shares = torch.zeros(len(KEYS))
    shares[key_number(text)] = 1
    return shares


def chosen(what: str, name: str, known: Iterable[str]) -> str:
    """Return a name that is known; UserError with the nearest ones, and all, for another."""
    names = list(known)
    if name in names:
        return name
    if not names:
        raise UserError(f"this model was trained without any {what}, got {name!r}: leave it out")
    near = difflib.get_close_matches(name, names, 3, 0.5)
    hint = f", did you mean {' or '.join(near)}?" if near else ","
    raise UserError(f"there is no {what} {name!r}{hint} this model knows {shortened(names, SHOWN)}")


def shortened(names: list[str], most: int) -> str:
    """List the first of some names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
