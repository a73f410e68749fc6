"""Fetch published checkpoints: python download_ckpts.py lists them, with NAME... it gets them.

What is fetched is kept under a temporary name until it is whole and verified, so a file in the
folder is a finished one. Run it again after an interruption to resume.
"""

import argparse
import errno
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

try:
    from tqdm import tqdm
except ModuleNotFoundError:
    sys.exit("error: tqdm isn't in this Python: pip install -r requirements.txt")

from foundation.files import replacing
from music_diffusion.downloads.catalogue import TABLE, Entry

BLOCK = 2**20
RECORD = "checksums.json"  # in the folder: what each file's content was when it was placed
TRIES = 3  # at an address whose connection breaks after some data
TIMEOUT = 30.0  # seconds without an answer
WHEEL = "musicnn-0.1.0-py3-none-any.whl"


class Fault(Exception):
    """Why an address did not give the file; the next one is tried."""


class Broken(Fault):
    """The connection ended early; the same address may go on."""


def main(args: list[str] | None = None) -> int:
    """List the checkpoints, or fetch those named; 0 if all are there, 1 if one is not."""
    parser = argparse.ArgumentParser(description="Fetch published checkpoints.")
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
        show(options.out)
        return 0
    failed = False
    for name in names:
        try:
            print(f"{name}: {get(TABLE[name], options.out, options.mirror, options.source)}")
        except KeyboardInterrupt:
            print(f"{name}: stopped; run again to resume", file=sys.stderr)
            return 130
        except (Fault, ValueError, OSError, subprocess.CalledProcessError) as error:
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
    print("\npython download_ckpts.py NAME... [--out DIR] [--mirror PREFIX] [--from DIR]")


def status(entry: Entry, folder: Path) -> str:
    path = folder / entry.file
    known = "" if entry.sha256 else ", no hash published"
    if not path.is_file():
        begun = part_of(path).is_file()
        size = part_of(path).stat().st_size / 1e6 if begun else 0
        return f"not here{f', {size:.1f} MB begun' if begun else ''}{known}: {path}"
    seen = record(folder).get(entry.file, {})
    if seen.get("size") != path.stat().st_size or seen.get("mtime") != path.stat().st_mtime_ns:
        return f"here, not verified{known}: {path}"
    verified = seen["sha256"] == entry.sha256
    return f"here, {'verified' if verified else f'as recorded{known}'}: {path}"


def get(entry: Entry, folder: Path, mirror: str | None, source: Path | None) -> str:
    """Place a checkpoint in the folder, verified; say what was done."""
    path = folder / entry.file
    if path.is_file():
        checked = verify(entry, path)
        seen = record(folder).get(entry.file)
        if seen and seen["sha256"] != checked:
            raise Fault(f"{path} has changed since it was placed: delete it and run again")
        keep_record(folder, entry.file, checked, path)
        return f"already here, {judged(entry, checked)}"
    folder.mkdir(parents=True, exist_ok=True)
    if entry.file == TABLE["musicnn"].file:
        return place(entry, path, lambda part: convert_musicnn(part, source))
    if source:
        return place(entry, path, lambda part: copy(source / entry.file, part))
    urls = entry.urls if mirror is None else (f"{mirror.rstrip('/')}/{entry.file}", *entry.urls)
    faults = []
    for url in urls:
        try:
            return place(entry, path, lambda part, url=url: fetch(url, entry, part))
        except Fault as fault:
            print(f"  {url}: {fault}", file=sys.stderr)
            faults.append(str(fault))
    raise Fault(f"no address gave the file ({faults[-1]}); offline, use --from DIR")


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def place(entry: Entry, path: Path, write: Callable[[Path], None]) -> str:
    """Let `write` fill the part file, verify it, and give it its name."""
    part = part_of(path)
    write(part)
    try:
        checked = verify(entry, part)
    except Fault:
        discard(part)
        raise
    os.replace(part, path)
    discard(part)
    keep_record(path.parent, entry.file, checked, path)
    return f"{path.stat().st_size / 1e6:.1f} MB in {path}, {judged(entry, checked)}"


def discard(part: Path) -> None:
    for path in (part, origin_of(part)):
        path.unlink(missing_ok=True)


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


def record(folder: Path) -> dict[str, dict]:
    path = folder / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def keep_record(folder: Path, file: str, checked: str, path: Path) -> None:
    seen = path.stat()
    mine = {"sha256": checked, "size": seen.st_size, "mtime": seen.st_mtime_ns}
    text = json.dumps(record(folder) | {file: mine}, indent=1)
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(text)


def copy(source: Path, part: Path) -> None:
    if not source.is_file():
        raise Fault(f"no file at {source}")
    shutil.copyfile(source, part)


def convert_musicnn(part: Path, source: Path | None) -> None:
    """Read musicnn's weights out of its Python package."""
    from metrics.musicnn_convert import convert

    with tempfile.TemporaryDirectory() as folder:
        if source is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*command, "musicnn==0.1.0", "--dest", folder], check=True)
        wheel = (source or Path(folder)) / WHEEL
        if not wheel.is_file():
            raise Fault(f"no file at {wheel}")
        convert(wheel, part)


# Over the network


def origin_of(part: Path) -> Path:
    """The file that says where a part came from, and which version of it."""
    return part.with_name(f"{part.name}.origin")


def fetch(url: str, entry: Entry, part: Path) -> None:
    """Fill the part file from an address, going on where it stopped; Fault if that can't be."""
    for attempt in range(TRIES):
        before = part.stat().st_size if part.is_file() else 0
        try:
            return fetch_once(url, entry, part)
        except Broken as fault:
            grown = part.is_file() and part.stat().st_size > before
            if attempt == TRIES - 1 or not grown:
                raise Fault(f"{fault}; run again to resume") from fault
        except ValueError as error:
            raise Fault(f"{error}: give https://…, or a folder by --from") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            why = getattr(error, "reason", None) or error
            raise Fault(f"no answer: {str(why) or type(why).__name__}") from error


def fetch_once(url: str, entry: Entry, part: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "download_ckpts"})
    have = resume_point(url, entry, part)
    if have:
        request.add_header("Range", f"bytes={have}-")
        if version := origin_of(part).read_text().split("\n")[1]:
            request.add_header("If-Range", version)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is as long as the file, or longer
            return
        raise Fault(f"the server answers {error.code} {error.reason}") from error
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise Fault("the server sent a web page, not the file")
        if answer.status != 206:  # without ranges, or another version: from the start
            have = 0
        length = answer.headers.get("Content-Length")
        total = int(length) + have if length else entry.size
        if total is None and entry.sha256 is None and not answer.chunked:
            raise Fault("the server doesn't say how long the file is: an early end would not show")
        if total and (free := shutil.disk_usage(part.parent).free) < total - have:
            text = f"{(total - have) / 1e6:.0f} MB wanted, {free / 1e6:.0f} MB free"
            raise OSError(errno.ENOSPC, text)
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        origin_of(part).write_text(f"{url}\n{version}")
        receive(answer, part, have, total)


def resume_point(url: str, entry: Entry, part: Path) -> int:
    """How much of the part can stay: none of an unknown version of a file without a hash."""
    if not (part.is_file() and origin_of(part).is_file()):
        return 0
    came_from, version = origin_of(part).read_text().split("\n")
    sure = entry.sha256 or (came_from == url and version and not version.startswith("W/"))
    return part.stat().st_size if sure else 0


def receive(answer: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Write what comes after the first `have` bytes; Broken if it ends early."""
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None)
    with part.open("r+b" if have else "wb") as file, bar:
        file.seek(have)
        while True:
            try:
                block = answer.read(BLOCK)
            except (http.client.HTTPException, OSError) as error:
                raise Broken(f"the connection broke after {have} bytes ({error!r})") from error
            if not block:
                break
            file.write(block)
            have += len(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise Broken(f"it ended after {have} of {total} bytes")
