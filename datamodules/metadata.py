"""Metadata of tracks: their folder, and fields of a CSV or JSONL file (the sidecar)."""

import csv
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from datamodules.messages import log_once
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import printable, user_path

TRACK, FOLDER = "track", "folder"


def folder_of(name: str) -> str:
    """Return the folder of a track's name, which is a path with slashes; "" at the root."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else printable(parent)


@dataclass
class Sidecar:
    """Fields of tracks by the tracks' names; the default has no fields.

    Attributes:
        path: the file
        fields: names of its columns, but for `track`
        rows: the fields of each track
        warned: whether unknown tracks were logged
    """

    path: Path | None = None
    fields: tuple[str, ...] = ()
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    warned: bool = False

    @classmethod
    def read(cls, path: str | Path | None) -> "Sidecar":
        """Read a .csv or .jsonl file, of which one column, or key, is `track`.

        `track` names a file relative to the music folder. Raises UserError, which names the file
        and the line, and MissingFileError. Without a path there are no fields.
        """
        if path is None:
            return cls()
        path = user_path(path, "sidecar")
        readers = {".csv": read_csv, ".jsonl": read_jsonl}
        if path.suffix.lower() not in readers:
            raise UserError(f"the sidecar {path} must be a .csv or .jsonl file")
        if not path.is_file():
            raise MissingFileError(f"there is no sidecar file {path}")
        fields: dict[str, None] = {}  # a set that keeps the order
        rows: dict[str, dict[str, str]] = {}
        try:
            for line, row in readers[path.suffix.lower()](path):
                name = track_name(row, f"{path}, line {line}")
                if name in rows:
                    raise UserError(f"{path}, line {line}: the track {name} has a row already")
                rows[name] = row
                fields |= dict.fromkeys(row)
        except UnicodeDecodeError as error:
            raise UserError(f"the sidecar {path} is no UTF-8 text: {error}") from error
        return cls(path, tuple(fields), rows)

    def cond(self, name: str) -> dict[str, str]:
        """Return a track's metadata; "" for fields that it lacks."""
        row = self.rows.get(name, {})
        return {FOLDER: folder_of(name)} | {key: row.get(key, "") for key in self.fields}

    def warn_of_unknown(self, names: Iterable[str]) -> None:
        """Log once which rows' tracks aren't among `names`, those of all tracks."""
        unknown = sorted(self.rows.keys() - set(names))
        if unknown and not self.warned:
            shown = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
            log_once(
                logging.WARNING,
                f"{self.path}: {len(unknown)} of {len(self.rows)} tracks aren't in the music "
                f"folder or can't be read: {shown}",
            )
        self.warned = True


def track_name(row: dict[str, str], place: str) -> str:
    """Take the track's name out of a row; UserError, at `place`, if the row isn't usable."""
    name = row.pop(TRACK, "")
    if not name:
        raise UserError(f"{place}: a row needs a value for {TRACK!r}, a file in the music folder")
    if FOLDER in row:
        raise UserError(f"{place}: {FOLDER!r} is taken by the track's folder, rename this column")
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the fields of each row."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                values = list(row.values())
                if None in row or None in values:
                    count = len(reader.fieldnames or ())
                    raise UserError(
                        f"{path}, line {reader.line_num}: a row needs {count} values, as many as "
                        "the first line has"
                    )
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.reader.line_num}: {error}") from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the fields of each object; numbers and booleans become text."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            with unreadable(place):
                row = json.loads(line)
            if not isinstance(row, dict):
                raise UserError(f"{place}: an object {{...}} is needed")
            yield number, {key: as_text(value, place) for key, value in row.items()}


def as_text(value: object, place: str) -> str:
    """Turn a JSON value into text, null into ""; UserError, at `place`, for lists and objects."""
    if isinstance(value, list | dict):
        raise UserError(f"{place}: a value must be text, a number, true, false or null")
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
