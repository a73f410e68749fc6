"""Files and folders: where the cache is, and writing so that they are complete or not there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from foundation.checks import check_not_empty, refuse_address
from foundation.errors import UserError, unreadable
from foundation.leftovers import find_leftovers, temporary_name

ATTEMPTS = 10  # to replace a folder while others write it, too


def cache_folder() -> Path:
    """The folder for what can be computed again: XDG_CACHE_HOME/music-diffusion."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # a container's user without a name
        raise UserError("no home folder for the cache: set HOME or XDG_CACHE_HOME") from error
    return Path(base) / "music-diffusion"


def user_path(path: str | Path, option: str) -> Path:
    """Return the path that a user gave for an option, with ~ expanded, which shells leave after =.

    UserError for an empty one, which would be the current folder, and for an address.
    """
    check_not_empty(**{option: path})
    refuse_address(f"{option} {path}", str(path))
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
    """Return the path of a folder to write to; UserError if it, or one above it, is a file.

    Where it is to be copied to, such as a bucket, is the business of other programs.
    """
    advice = f"copy it when it is finished, such as with aws s3 sync FOLDER {out}"
    refuse_address(f"--out {out}", str(out), f"give a folder, and {advice}")
    folder = user_path(out, "out")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is a file, give a folder")
    return folder


def missing_folders(folder: Path) -> list[Path]:
    """List a folder and those above it that aren't there yet, the lowest one first."""
    return [path for path in (folder.absolute(), *folder.absolute().parents) if not path.exists()]


def remove_new(missing: list[Path]) -> None:
    """Remove what were `missing_folders`: the lowest with all it holds, the others if empty."""
    for path in missing[:1]:
        remove(path)
    for path in missing[1:]:
        with suppress(OSError):  # somebody else has written there, or it was never made
            path.rmdir()


@contextmanager
def undone_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder, and those above it, if the block made them and then fails."""
    missing = missing_folders(folder)
    try:
        yield
    except BaseException:
        remove_new(missing)
        raise


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces `path` at the end.

    A file or a folder may be written. It is on the disk before it gets its name, so that even a
    power cut leaves the old or the new one. An error or an interrupt removes what was written and
    leaves `path` as it was. The caller creates the file or folder. The first one that a process
    writes in a folder removes there what killed processes left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_once(path.parent.absolute(), os.getpid())
    temporary = temporary_name(path)
    remove(temporary)  # of a killed process that had this one's number
    try:
        yield temporary
        flush(temporary)
        rename(temporary, path)
    finally:
        remove(temporary)


def flush(path: Path) -> None:
    """Wait until a file, or the files of a folder, are on the disk."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def rename(temporary: Path, path: Path) -> None:
    """Rename; a folder that holds files can't be replaced and is removed before."""
    for _ in range(ATTEMPTS):
        try:
            return os.replace(temporary, path)
        except OSError:
            if not (path.is_dir() and temporary.is_dir()):
                raise
            remove(path)
    os.replace(temporary, path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all it holds, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, deep: bool = False) -> None:
    """Delete what killed processes left in a folder, or, if `deep`, in all folders in it."""
    for path in find_leftovers(folder, deep):
        with suppress(OSError):  # another process removes it, too, or it is another user's
            remove(path)


@cache
def clean_once(folder: Path, process: int) -> None:
    """Remove the leftovers of a folder when a process first writes there."""
    remove_leftovers(folder)


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: str | Path, advice: str = "") -> dict:
    """Read a JSON object; UserError, with `advice`, for any other content."""
    path = Path(path)
    with unreadable(f"{path} is damaged", advice):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, not an object")
        return content
