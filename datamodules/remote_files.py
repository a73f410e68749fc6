"""Files at an address that the user typed (s3://, gs://, any of fsspec's), copied to this machine.

Addresses are those of options and configs. None that a file holds is ever followed, so one address
within another, fsspec's `zip://a::s3://b`, is refused.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import TypeVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from foundation.errors import MissingFileError, RemoteError, UserError, reason_of
from foundation.files import replacing

log = logging.getLogger(__name__)
T = TypeVar("T")
ATTEMPTS = 5
WAIT = 1.0  # seconds before the second attempt, twice as many before each further one
PATIENCE = 60.0  # seconds after which there is none: packages try again, too, for minutes
FINAL = (NotADirectoryError, IsADirectoryError, NotImplementedError)  # it won't pass


def is_address(text: str | Path) -> bool:
    return isinstance(text, str) and "://" in text


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of a bucket, or of whatever fsspec reads; each call may come after a fork."""

    address: str

    @classmethod
    def at(cls, address: str) -> "RemoteFolder":
        """Check an address without asking for it; UserError where nothing here can read it."""
        if "::" in address:
            raise UserError(f"{address}: one address within another isn't read")
        try:
            fsspec.get_filesystem_class(address.split("://")[0])
        except ImportError as error:
            raise UserError(
                f"{address} needs another package ({reason_of(error)}): for s3:// and gs:// "
                "pip install s3fs gcsfs (the extra `remote`)"
            ) from error
        except ValueError as error:
            raise UserError(f"{address}: {reason_of(error)}; s3:// and gs:// are") from error
        return cls(address.rstrip("/"))

    @property
    def name(self) -> str:
        """The last part of the address, as the name of a folder."""
        return re.sub(r"[^\w.-]", "_", self.address.rsplit("/", 1)[-1]).strip(".") or "store"

    def place_of(self, name: str) -> tuple[AbstractFileSystem, str]:
        """Return this process's file system, and the path of a file there."""
        if (package := logging.getLogger("gcsfs")).level == logging.NOTSET:
            package.setLevel(logging.CRITICAL)  # it shows tracebacks of what is a line of ours
        return url_to_fs(f"{self.address}/{name}")

    def copy(self, name: str, target: Path, size: int | None = None) -> None:
        """Copy a file, whole or not at all; RemoteError where it can't be had in `size` bytes."""

        def fetch() -> None:
            system, path = self.place_of(name)
            system.get_file(path, str(temporary))
            expected = system.size(path) if size is None else size
            if expected not in (None, found := temporary.stat().st_size):
                raise OSError(f"{found} bytes came in place of {expected}")

        with replacing(target) as temporary:
            self._persist(name, fetch)

    def sizes(self, name: str) -> dict[str, int | None] | None:
        """List the files of a folder in it with their sizes; None where listing isn't allowed."""

        def find() -> list[dict]:
            system, path = self.place_of(name)
            system.invalidate_cache()
            return system.ls(path, detail=True)

        try:
            found = self._persist(name, find)
        except RefusedError:
            return None
        return {one["name"].rstrip("/").rsplit("/", 1)[-1]: one["size"] for one in found}

    def _persist(self, name: str, work: Callable[[], T]) -> T:
        """Do something with a file there, several times where it fails for a while."""
        begin = time.monotonic()
        for attempt in range(ATTEMPTS):
            try:
                return work()
            except Exception as error:
                place, reason = f"{self.address}/{name}", reason_of(error)
                if isinstance(error, FileNotFoundError):
                    raise LostError(f"{place} isn't there ({reason})") from error
                if refused(error):
                    raise RefusedError(f"{place} may not be read ({reason})") from error
                late = attempt + 1 == ATTEMPTS or time.monotonic() - begin > PATIENCE
                if late or not may_pass(error):
                    raise RemoteError(f"{place}: {reason}") from error
            if not attempt:
                log.warning("%s: %s; trying again", place, reason)
            time.sleep(WAIT * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


class RefusedError(RemoteError):
    """A file may not be read, or a folder not be listed."""


class LostError(RemoteError, MissingFileError):
    """There is no such file."""


def refused(error: Exception) -> bool:
    """Say whether an error is one of permission; s3fs has Python's own, gcsfs has two others."""
    denied = getattr(error, "code", None) in (401, 403) or str(error).startswith("Forbidden: ")
    return denied or isinstance(error, PermissionError)


def may_pass(error: Exception) -> bool:
    """Say whether an error may be gone in a moment.

    Those of missing credentials have classes of their own, in packages that needn't be here.
    """
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):  # of this machine
        return False
    return not isinstance(error, FINAL) and "Credential" not in type(error).__name__
