"""Fetch published checkpoints: download lists them, download NAME... gets them.

What is fetched is kept under a temporary name until it is whole and verified, so a file in the
folder is a finished one. Run it again after an interruption to resume.
"""

import argparse
import errno
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from foundation.errors import UserError
from foundation.files import replacing
from foundation.locks import locked
from foundation.program import download_command
from music_diffusion.downloads.catalogue import TABLE, Entry
from music_diffusion.downloads.record import is_as_recorded, keep_record, read_record
from music_diffusion.downloads.transfer import BLOCK, Fault, discard, fetch, open_part, own_file

WHEEL = "musicnn-0.1.0-py3-none-any.whl"


def main(args: list[str] | None = None) -> int:
    """List the checkpoints, or fetch those named; 0 if all are there, 1 if one is not."""
    parser = argparse.ArgumentParser(download_command(), description="Fetch published checkpoints.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, or names of the list")
    parser.add_argument("--out", type=Path, default=Path("ckpts"), help="folder (default: ckpts)")
    parser.add_argument("--mirror", metavar="PREFIX", help="look at PREFIX/FILE first")
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR", help="files on disk")
    options = parser.parse_args(args)
    names = [name.replace("_", "-") for name in options.names]
    names = list(TABLE) if names == ["all"] else names
    if unknown := [name for name in names if name not in TABLE]:
        print(f"error: no checkpoint is called {unknown[0]}: {', '.join(TABLE)}", file=sys.stderr)
        return 2
    if not names:
        try:
            show(options.out)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
    failed = False
    for name in names:
        try:
            print(f"{name}: {get(TABLE[name], options.out, options.mirror, options.source)}")
        except KeyboardInterrupt:
            print(f"{name}: stopped; run again to resume", file=sys.stderr)
            return 130
        except (Fault, ValueError, OSError) as error:
            failed = True
            print(f"{name}: not fetched: {reason(error)}", file=sys.stderr)
    return int(failed)


def reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; make room and run again to resume"
    return " ".join(str(error).split())


def show(folder: Path) -> None:
    """Print a line for each checkpoint."""
    for name, entry in TABLE.items():
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else entry.about
        print(f"{name:18} {size:>8}  {status(entry, folder)}\n{'':28} {entry.licence}")
    print(f"\n{download_command()} NAME... [--out DIR] [--mirror PREFIX] [--from DIR]")


def status(entry: Entry, folder: Path) -> str:
    path = folder / entry.file
    known = "" if entry.sha256 else ", no hash published"
    if not path.is_file():
        begun = part_of(path).is_file()
        size = part_of(path).stat().st_size / 1e6 if begun else 0
        return f"not here{f', {size:.1f} MB begun' if begun else ''}{known}: {path}"
    if not is_as_recorded(path):
        return f"here, not verified{known}: {path}"
    verified = read_record(folder)[entry.file]["sha256"] == entry.sha256
    return f"here, {'verified' if verified else f'as recorded{known}'}: {path}"


def get(entry: Entry, folder: Path, mirror: str | None, source: Path | None) -> str:
    """Place a checkpoint in the folder, verified; say what was done.

    Where another process is fetching the same file, its end is awaited.
    """
    path = folder / entry.file
    folder.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if path.is_file():
            return check_again(entry, path)
        if entry.file == TABLE["musicnn"].file:
            return place(entry, path, lambda part: convert_musicnn(part, source))
        if source:
            return place(entry, path, lambda part: copy(source / entry.file, part))
        return place_from(addresses(entry, mirror), entry, path)


def check_again(entry: Entry, path: Path) -> str:
    """Verify a file that is there, against its record if no hash is published."""
    checked = verify(entry, path)
    seen = read_record(path.parent).get(entry.file)
    if seen and seen["sha256"] != checked:
        raise Fault(f"{path} has changed since it was placed: delete it and run again")
    note(path, checked)
    return f"already here, {judged(entry, checked)}"


def addresses(entry: Entry, mirror: str | None) -> tuple[str, ...]:
    return entry.urls if mirror is None else (f"{mirror.rstrip('/')}/{entry.file}", *entry.urls)


def place_from(urls: tuple[str, ...], entry: Entry, path: Path) -> str:
    """Place a file from the first address that has it; Fault if none has."""
    faults = ["it has none"]
    for url in urls:
        try:
            return place(entry, path, lambda part, url=url: fetch(url, entry, part))
        except Fault as fault:
            print(f"  {url}: {fault}", file=sys.stderr)
            faults.append(str(fault))
    raise Fault(f"no address gave the file ({faults[-1]}); offline, use --from DIR")


def alone(path: Path) -> AbstractContextManager[None]:
    """Keep other processes from the same file meanwhile; they wait, and say so."""

    def waiting() -> None:
        print(f"{path.name}: waiting for another process that fetches it", file=sys.stderr)

    return locked(path.with_name(f".{path.name}.lock"), waiting)


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def place(entry: Entry, path: Path, write: Callable[[Path], None]) -> str:
    """Let `write` fill the part file, verify it, and give it its name."""
    part = part_of(path)
    own_file(part)
    write(part)
    try:
        checked = verify(entry, part)
    except Fault:
        discard(part)
        raise
    with replacing(path) as temporary:
        part.rename(temporary)
    discard(part)
    note(path, checked)
    return f"{path.stat().st_size / 1e6:.1f} MB in {path}, {judged(entry, checked)}"


def note(path: Path, checked: str) -> None:
    """Record what a file's content is; the folder's files are recorded one at a time."""
    with alone(path.with_name("checksums")):
        keep_record(path, checked)


def verify(entry: Entry, path: Path) -> str:
    """Hash a file; Fault if its size or hash is not the published one."""
    size = path.stat().st_size
    if entry.size not in (None, size):
        raise Fault(f"{entry.file} has {size} bytes, should have {entry.size}: not the file")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        start = file.read(64)
        if looks_like_text(start):
            raise Fault(f"{entry.file} is a web page or a pointer, not the file")
        if entry.sha256 is None and not looks_like_weights(start):
            raise Fault(f"{entry.file} is {'no checkpoint' if size else 'empty'}, not the file")
        file.seek(0)
        while block := file.read(BLOCK):
            digest.update(block)
    checked = digest.hexdigest()
    if entry.sha256 not in (None, checked):
        raise Fault(f"{entry.file} has SHA-256 {checked[:12]}…, should have {entry.sha256[:12]}…")
    return checked


def judged(entry: Entry, checked: str) -> str:
    if entry.sha256:
        return "verified"
    size = " but the size, which is right" if entry.size else ""
    return f"nothing to verify it by{size}: no hash is published; its SHA-256 is {checked}"


def looks_like_text(start: bytes) -> bool:
    return start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"version https:"))


def looks_like_weights(start: bytes) -> bool:
    """Know torch's archives and pickles, and safetensors, by how they begin."""
    return start.startswith((b"PK\x03\x04", b"\x80")) or start[8:9] == b"{"


def copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise Fault(f"no file at {source}")
    with source.open("rb") as file, open_part(part, "wb") as made:
        shutil.copyfileobj(file, made, BLOCK)


def convert_musicnn(part: Path, source: Path | None) -> None:
    """Read musicnn's weights out of its Python package."""
    from metrics.musicnn_convert import convert

    with tempfile.TemporaryDirectory() as folder:
        if source is None:
            get_package("musicnn==0.1.0", folder)
        wheel = (source or Path(folder)) / WHEEL
        if not wheel.is_file():
            raise Fault(f"no file at {wheel}")
        convert(wheel, part)


def get_package(name: str, folder: str) -> None:
    """Put a package's wheel into a folder; Fault where pip doesn't get it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run([*command, name, "--dest", folder], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise Fault(
            f"pip doesn't get the package {name} ({reason}): try again with a network, or give "
            f"the folder of {WHEEL} by --from"
        )
