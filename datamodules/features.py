"""Descriptions of a store's tracks over time: tags, tempo and key, one file a track.

STORE/described/header.json     names of the columns, seconds of a row, what made them
STORE/described/KEY.npy         float16 [N, columns], by the track's key in the store
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundation.arrays import read_npy
from foundation.conditions import KEY, TAGS, TEMPO, Conditions
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import read_json, replacing, write_json
from foundation.musical_key import KEYS

FOLDER = "described"
LEAST = 0.1  # a tag that is never this probable isn't one of the music's
MOST = 99.0  # percentile of a tag's probability that counts as 1
SAMPLE = 2000  # tracks that are looked at for it


@dataclass(frozen=True)
class FeatureHeader:
    """What the columns are: tags, then the tempo, then the keys' shares."""

    names: tuple[str, ...]
    seconds: float
    made_by: str

    @property
    def tags(self) -> tuple[str, ...]:
        return self.names[: self.names.index(TEMPO)]


class Features:
    """The descriptions of a store's tracks; a track without any has none known."""

    def __init__(self, folder: Path, header: FeatureHeader):
        self.folder, self.header = folder, header

    @classmethod
    def open(cls, store: Path) -> "Features":
        """Open those of a store; UserError, or MissingFileError, where there are none."""
        path = store / FOLDER / "header.json"
        if not path.is_file():
            raise MissingFileError(
                f"the tracks in {store} aren't described: run encode with --tags true first"
            )
        content = read_json(path, "encode again with --tags true")
        with unreadable(f"{path} is damaged", "encode again with --tags true"):
            header = FeatureHeader(tuple(content["names"]), content["seconds"], content["made_by"])
            if header.names[-len(KEYS) - 1 :] != (TEMPO, *KEYS) or not header.seconds > 0:
                raise ValueError("its columns are others")
        return cls(path.parent, header)

    @classmethod
    def create(cls, store: Path, header: FeatureHeader) -> "Features":
        """Make or continue those of a store; UserError where something else made them."""
        path = store / FOLDER / "header.json"
        if path.is_file():
            made = cls.open(store)
            if made.header != header:
                raise UserError(f"{path.parent} was made by {made.header.made_by}: delete it")
            return made
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(header))
        return cls(path.parent, header)

    def has(self, key: str) -> bool:
        return (self.folder / f"{key}.npy").is_file()

    def write(self, key: str, parts: Iterable[Tensor]) -> None:
        """Write a track's description, [n, columns] at a time."""
        rows = torch.cat(list(parts)).numpy().astype(np.float16)
        with replacing(self.folder / f"{key}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, rows)

    def rows(self, key: str) -> np.ndarray:
        """Map a track's description [N, columns] into memory; [0, columns] if it has none."""
        path, columns = self.folder / f"{key}.npy", len(self.header.names)
        if not path.is_file():
            return np.zeros((0, columns), np.float16)
        with unreadable(f"{path} is damaged", "encode again with --tags true"):
            rows = read_npy(path, in_place=True)
            if rows.ndim != 2 or rows.shape[1] != columns:
                raise ValueError(f"it has shape {list(rows.shape)}")
        return rows

    def between(self, key: str, start: float, stop: float) -> np.ndarray:
        """Average a track's description from start to stop in seconds: [columns], NaN if none.

        The tempo is the median, for it jumps by octaves.
        """
        rows = self.rows(key)
        first = min(int(start / self.header.seconds), max(0, len(rows) - 1))
        part = rows[first : max(first + 1, round(stop / self.header.seconds))].astype(np.float32)
        place = len(self.header.tags)
        known = part[:, place][np.isfinite(part[:, place])]
        mean = np.full(part.shape[1], np.nan, np.float32) if not len(part) else part.mean(0)
        mean[place] = np.median(known) if len(known) else np.nan
        return mean

    def conditions(self, keys: Sequence[str]) -> Conditions:
        """Say what tracks are described by: tags that they have, and how much counts as 1."""
        chosen = keys[:: max(1, len(keys) // SAMPLE)]
        rows = np.concatenate([self.rows(key) for key in chosen]).astype(np.float32)
        if not len(rows):
            raise UserError(f"no training track is described in {self.folder}: encode again")
        tops = np.nanpercentile(rows[:, : len(self.header.tags)], MOST, axis=0)
        tags = zip(self.header.tags, tops, strict=True)
        return Conditions([], {tag: float(top) for tag, top in tags if top >= LEAST}, True, True)


@dataclass(frozen=True)
class Described:
    """Descriptions in the order in which a model is told them; `seconds` is a position's length."""

    features: Features
    tags: tuple[str, ...]
    seconds: float

    def cond(self, key: str, start: int, stop: int) -> dict[str, Tensor]:
        """Return tags [n], tempo [] and key [24] of positions start to stop of a track."""
        values = self.features.between(key, start * self.seconds, stop * self.seconds)
        names, place = self.features.header.tags, len(self.features.header.tags)
        padded = np.append(values, np.float32(np.nan))
        columns = [names.index(tag) if tag in names else -1 for tag in self.tags]
        return {
            TAGS: torch.from_numpy(padded[columns]),
            TEMPO: torch.tensor(values[place]),
            KEY: torch.from_numpy(values[place + 1 :].copy()),
        }
