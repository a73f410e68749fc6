"""Fetch a file over the network into a part file that can be continued: resumed, bounded, watched.

What a part file holds is continued only if the server says that it's the same version at the same
offset, or if a published hash will tell.
"""

import errno
import http.client
import os
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm import tqdm

from foundation.files import replacing
from music_diffusion.downloads.catalogue import Entry

BLOCK = 2**20
TRIES = 3  # at an address whose connection breaks after some data
TIMEOUT = 30.0  # seconds without an answer, for the answer's head, and of one look at the speed
SLOWEST = 1000  # bytes a second
LARGEST = 16 * 2**30  # bytes of a file whose size nobody says


class Fault(Exception):
    """Why an address did not give the file; the next one is tried."""


class Broken(Fault):
    """The connection ended early; the same address may go on."""


class Stale(Fault):
    """The part is not of the file that the address has now: it is fetched from the start."""


@dataclass(frozen=True)
class Origin:
    """Where a part came from, and which version of it; kept in a file beside the part."""

    url: str = ""
    version: str = ""

    @classmethod
    def of(cls, part: Path) -> "Origin":
        """Read it; an empty one if it isn't there or damaged."""
        path = origin_of(part)
        lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
        return cls(*lines) if len(lines) == 2 else cls()

    def write(self, part: Path) -> None:
        with replacing(origin_of(part)) as temporary:
            temporary.write_text(f"{self.url}\n{self.version}")

    @property
    def strong(self) -> bool:
        """Say whether the version is of the very bytes, so that a server can compare it."""
        return bool(self.version) and not self.version.startswith("W/")


def origin_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.origin")


def discard(part: Path) -> None:
    for path in (part, origin_of(part)):
        path.unlink(missing_ok=True)


def own_file(part: Path) -> None:
    """Remove what stands in a part's place and is no file of ours: a link, a pipe."""
    if part.is_dir() and not part.is_symlink():
        raise Fault(f"{part} is a folder: delete it and run again")
    if part.is_symlink() or (part.exists() and not part.is_file()):
        part.unlink()


def open_part(part: Path, mode: str) -> IO[bytes]:
    """Open a part file, never what a link in its place points at."""
    only_files = getattr(os, "O_NOFOLLOW", 0)
    return open(part, mode, opener=lambda path, flags: os.open(path, flags | only_files, 0o666))


def fetch(url: str, entry: Entry, part: Path) -> None:
    """Fill the part file from an address, going on where it stopped; Fault if that can't be."""
    own_file(part)
    for attempt in range(TRIES):
        before = size_of(part)
        try:
            return fetch_once(url, entry, part)
        except Stale as fault:
            discard(part)
            if attempt == TRIES - 1:
                raise Fault(str(fault)) from fault
        except Broken as fault:
            if attempt == TRIES - 1 or size_of(part) <= before:
                raise Fault(f"{fault}; run again to resume") from fault
        except ValueError as error:
            raise Fault(f"{error}: give https://…, or a folder by --from") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            why = getattr(error, "reason", None) or error
            raise Fault(f"no answer: {str(why) or type(why).__name__}") from error


def size_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def fetch_once(url: str, entry: Entry, part: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "download_ckpts"})
    origin, have = Origin.of(part), resume_point(url, entry, part)
    if have:
        request.add_header("Range", f"bytes={have}-")
        if origin.url == url and origin.strong:
            request.add_header("If-Range", origin.version)
    try:
        answer = OPENER.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have and is_whole(error, have, entry):
                return
            raise Fault(f"the server answers {error.code} {error.reason}") from error
    with answer:
        check_kind(answer)
        have = continued_at(answer, have, origin if origin.url == url else Origin())
        total = total_of(answer, have, entry)
        if total and (free := shutil.disk_usage(part.parent).free) < total - have:
            text = f"{(total - have) / 1e6:.0f} MB wanted, {free / 1e6:.0f} MB free"
            raise OSError(errno.ENOSPC, text)
        Origin(url, version_of(answer)).write(part)
        receive(answer, part, have, total)


def resume_point(url: str, entry: Entry, part: Path) -> int:
    """How much of the part can stay: none of an unknown version of a file without a hash."""
    origin = Origin.of(part)
    if not (part.is_file() and origin.url):
        return 0
    sure = entry.sha256 or (origin.url == url and origin.strong)
    return part.stat().st_size if sure else 0


def is_whole(error: urllib.error.HTTPError, have: int, entry: Entry) -> bool:
    """Say whether a part that can't be continued is the whole file; Stale if it's of another."""
    total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if have == entry.size or (total and have == int(total[1])):
        return True
    raise Stale(f"the part has {have} bytes, which the file hasn't")


def check_kind(answer: http.client.HTTPResponse) -> None:
    """Raise Fault for an answer that isn't the file's bytes."""
    if answer.headers.get_content_type() == "text/html":
        raise Fault("the server sent a web page, not the file")
    if (coding := answer.headers.get("Content-Encoding", "identity")) != "identity":
        raise Fault(f"the server sent the file encoded as {coding}, which wasn't asked for")


def continued_at(answer: http.client.HTTPResponse, have: int, origin: Origin) -> int:
    """Return where an answer goes on: at `have`, or from the start.

    Raises:
        Stale: for a part of another version, or at another offset
    """
    if answer.status != 206:  # without ranges, or another version
        return 0
    start, _ = content_range(answer)
    if start != have:
        raise Stale(f"the server sent the file from byte {start}, not from {have}")
    if origin.version and version_of(answer) not in ("", origin.version):
        raise Stale("the server sent a part of another version")
    return have


def content_range(answer: http.client.HTTPResponse) -> tuple[int, int]:
    """Return an answer's first byte, and the size of the whole file."""
    text = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", text)
    if not found or int(found[2]) + 1 != int(found[3]):
        raise Stale(f"the server sent a part that it calls {text!r}, not the rest of the file")
    return int(found[1]), int(found[3])


def version_of(answer: http.client.HTTPResponse) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def total_of(answer: http.client.HTTPResponse, have: int, entry: Entry) -> int | None:
    """Return the size of the whole file; Fault if it's another's, or unknown and without a hash."""
    length = answer.headers.get("Content-Length", "")
    total = int(length) + have if length.isdecimal() else None
    if answer.status == 206:
        _, whole = content_range(answer)
        if total not in (None, whole):
            raise Stale("the server sent a part whose length isn't that of the rest")
        total = whole
    if total is None:
        total = entry.size
    if entry.size not in (None, total):
        raise Fault(f"{entry.file} has {total} bytes, should have {entry.size}: not the file")
    if total is None and entry.sha256 is None and not answer.chunked:
        raise Fault("the server doesn't say how long the file is: an early end would not show")
    return total


def receive(answer: http.client.HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Write what comes after the first `have` bytes; Broken if it ends early."""
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, disable=None)
    with open_part(part, "r+b" if have else "wb") as file, bar:
        file.seek(have)
        for block in blocks(answer):
            if have + len(block) > (LARGEST if total is None else total):
                file.truncate(0)
                raise Fault(f"the server sends more than the {total or LARGEST} bytes of the file")
            file.write(block)
            have += len(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise Broken(f"it ended after {have} of {total} bytes")


def blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Iterate over what comes, as it comes; Fault where it's slower than SLOWEST for TIMEOUT."""
    count, began = 0, time.monotonic()
    while True:
        try:
            block = answer.read1(BLOCK)
        except (http.client.HTTPException, OSError) as error:
            raise Broken(f"the connection broke ({error!r})") from error
        if not block:
            return
        yield block
        count, passed = count + len(block), time.monotonic() - began
        if passed >= TIMEOUT:
            if count < SLOWEST * passed:
                raise Fault(
                    f"it is too slow: {count} bytes in {passed:.0f} s, not {SLOWEST} a second; run "
                    "again to resume"
                )
            count, began = 0, time.monotonic()


class Watched:
    """Of a connection: hang up where the answer's head takes longer than TIMEOUT in all."""

    sock: socket.socket | None

    def getresponse(self) -> http.client.HTTPResponse:
        timer = threading.Timer(TIMEOUT, self.hang_up)
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()

    def hang_up(self) -> None:
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_RDWR)


class WatchedHTTP(Watched, http.client.HTTPConnection):
    pass


class WatchedHTTPS(Watched, http.client.HTTPSConnection):
    pass


class HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(WatchedHTTP, req)


class HTTPSHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(WatchedHTTPS, req)


OPENER = urllib.request.build_opener(HTTPHandler, HTTPSHandler)
