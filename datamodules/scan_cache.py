"""What was found out about the audio files of a folder, kept for the next start and other ranks."""

import hashlib
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from audio.files import LOUDEST, Info
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import bytes_of, cache_folder
from foundation.tables import Table, Texts, read_table, write_table

VERSION = 1  # another one where other lengths are found in the same files
STAT, INFO = ("size", "time"), ("sample_rate", "channels", "num_samples")
COLUMNS = (*STAT, *INFO)


class ScanCache:
    """Files' rates and lengths by path, size and modification time.

    Files that can't be read, or are far too loud, aren't in it: they are named at every start, and
    may become readable without a change.
    """

    def __init__(self, root: Path):
        name = hashlib.sha256(bytes_of(os.path.abspath(root))).hexdigest()[:20]
        self.path = cache_folder() / "scans" / f"{name}.table"
        self.known = self._read()
        self.seen: dict[str, dict[str, int]] = {}

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            table = read_table(self.path)
            with unreadable(f"{self.path} is damaged"):
                if table.about != {"version": VERSION}:
                    return {}
                names = Texts(table.arrays["name"], table.arrays["name_end"])
                names.validate()
                columns = [table.arrays[column].tolist() for column in COLUMNS]
                rows = zip(names[:], zip(*columns, strict=True), strict=True)
                return {name: dict(zip(COLUMNS, row, strict=True)) for name, row in rows}
        except (UserError, OSError):  # there is none, or it is damaged
            return {}

    def get(self, path: Path) -> Info | None:
        """Return what is known of a file that is as it was, or None."""
        row = self.known.get(str(path))
        if row is None or {key: row[key] for key in STAT} != stat_of(path):
            return None
        self.seen[str(path)] = row
        return Info(path, *(row[key] for key in INFO))

    def add(self, info: Info) -> None:
        """Keep what was found out about a file."""
        if info.peak is None or info.peak <= LOUDEST:
            values = asdict(info)
            self.seen[str(info.path)] = stat_of(info.path) | {key: values[key] for key in INFO}

    def save(self) -> None:
        """Write what was seen, if it isn't what was known; a full or read-only disk is no error."""
        if self.seen == self.known:
            return
        names = Texts.of(self.seen)
        arrays = {"name": names.data, "name_end": names.ends}
        for column in COLUMNS:
            arrays[column] = np.array([row[column] for row in self.seen.values()], np.int64)
        with suppress(OSError):
            write_table(self.path, Table(arrays, {"version": VERSION}))


def stat_of(path: Path) -> dict[str, int]:
    """Return a file's size and time; MissingFileError where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise MissingFileError(f"no such file: {path}") from error
    return {"size": stat.st_size, "time": stat.st_mtime_ns}
