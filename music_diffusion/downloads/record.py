"""The record beside downloaded files: what each one's content was when it was placed."""

from pathlib import Path

from foundation.errors import unreadable
from foundation.files import read_json, write_json

RECORD = "checksums.json"
FIELDS = {"sha256": str, "size": int, "mtime": int}


def read_record(folder: Path) -> dict[str, dict]:
    """Read the record of a folder, by file; UserError if it is damaged."""
    path, advice = folder / RECORD, "delete it and run again"
    if not path.is_file():
        return {}
    content = read_json(path, advice)
    with unreadable(f"{path} is damaged", advice):
        for file, seen in content.items():
            if any(type(seen[name]) is not kind for name, kind in FIELDS.items()):
                raise ValueError(f"it says of {file}: {seen}")
    return content


def keep_record(path: Path, checked: str) -> None:
    """Record a file's SHA-256, size and time."""
    seen = path.stat()
    mine = {"sha256": checked, "size": seen.st_size, "mtime": seen.st_mtime_ns}
    write_json(path.parent / RECORD, read_record(path.parent) | {path.name: mine})


def is_as_recorded(path: Path) -> bool:
    """Say whether a file has the size and time that it was placed with."""
    seen = read_record(path.parent).get(path.name, {})
    now = path.stat()
    return (seen.get("size"), seen.get("mtime")) == (now.st_size, now.st_mtime_ns)
