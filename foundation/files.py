"""Files and folders: where the cache is, and writing so that they are complete or not there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.checks import check_not_empty
from foundation.errors import UserError


def cache_folder() -> Path:
    """The folder for what can be computed again: XDG_CACHE_HOME/music-diffusion."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "music-diffusion"


def user_path(path: str | Path, option: str) -> Path:
    """Return the path that a user gave for an option, with ~ expanded, which shells leave after =.

    UserError for an empty one, which would be the current folder.
    """
    check_not_empty(**{option: path})
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~NAME of nobody here
        raise UserError(f"{option} {path}: {error}") from error


def bytes_of(name: str | Path) -> bytes:
    """Return a path, or a text with paths in it, as bytes.

    Names that aren't UTF-8, such as those of old discs and archives, are in Python's texts as
    surrogates, which neither UTF-8 nor printing takes.
    """
    return os.fsencode(name)


def printable(name: str | Path) -> str:
    """Return a path as text for people and files; bytes that aren't UTF-8 become \\xe9."""
    return bytes_of(name).decode(errors="backslashreplace")


def output_folder(out: str | Path) -> Path:
    """Return the path of a folder to write to; UserError if it, or one above it, is a file."""
    folder = user_path(out, "out")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is a file, give a folder")
    return folder


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces `path` at the end.

    A file or a folder may be written. An error or an interrupt removes what was written and leaves
    `path` as it was. The caller creates the file or folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():  # a folder that holds files can't be replaced
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all it holds, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
