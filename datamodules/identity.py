"""What a file of music, and what is in it, is called in a token store."""

import hashlib
from itertools import chain
from pathlib import Path

from datamodules.store_index import KEY
from datamodules.store_parts import hash_of, read_pieces
from datamodules.tracks import name_of
from foundation.files import bytes_of


def track_key(path: Path, root: Path) -> bytes:
    """Hash a file's path relative to root, its size and its modification time."""
    stat = path.stat()
    text = f"{name_of(path, root)} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(bytes_of(text)).digest()[:KEY]


def content_id(path: Path, change: str = "") -> bytes:
    """Hash a file's bytes, and what is done to its samples before they are encoded."""
    return hash_of(chain([change.encode()], read_pieces(path, 0, path.stat().st_size)))


def changed_key(key: bytes, change: str) -> bytes:
    """Return the key of a file whose samples were changed, such as clipped, before encoding."""
    return hash_of([key, change.encode()])[:KEY]
