"""What a file holds, by its hash: computed once, and looked up until the file changes."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from foundation.files import bytes_of, cache_folder, replacing

BLOCK = 2**20  # bytes read at once
SETTLED = 2.0  # seconds after which a file system's clock shows a further change


def digest_of(path: Path) -> str:
    """Hash a file's content; one that hasn't changed since isn't read again.

    Whether it has is told by its place, size and times, as git does. The hash of a file that was
    changed within the last seconds isn't kept, since its times might not show another change.
    """
    found = path.stat()
    times = found.st_mtime_ns, found.st_ctime_ns
    stamp = f"{found.st_dev} {found.st_ino} {found.st_size} {times} ".encode()
    key = hashlib.sha256(stamp + bytes_of(os.path.realpath(path))).hexdigest()[:24]
    place = cache_folder() / "digests" / key
    with suppress(OSError, UnicodeDecodeError):
        if len(known := place.read_text()) == hashlib.sha256().digest_size * 2:
            return known
    digest = read_digest(path)
    if time.time_ns() - max(times) > SETTLED * 1e9:
        with suppress(OSError), replacing(place) as temporary:
            temporary.write_text(digest)
    return digest


def read_digest(path: Path) -> str:
    """Read a file whole and hash it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
