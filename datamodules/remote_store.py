"""Token stores at an address: header and index are copied when opened, each shard when needed.

    CACHE/remote/HASH/NAME/     the copy, a store as any other but for the shards nobody read

What is read, and in which order, is the same as from a folder. Processes and programs share the
copy; it can be deleted at any time.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from datamodules.header import Header
from datamodules.remote_files import LostError, RemoteFolder, is_address
from datamodules.store_index import NAME, StoreIndex
from datamodules.token_store import Shards, TokenStore, read_header, shard_size, shard_sizes
from foundation.errors import UserError
from foundation.files import cache_folder, remove, user_path
from foundation.locks import locked


@dataclass(frozen=True)
class RemoteStore:
    """A token store at an address, and its copy."""

    remote: RemoteFolder

    @classmethod
    def at(cls, address: str) -> "RemoteStore":
        return cls(RemoteFolder.at(address))

    @property
    def folder(self) -> Path:
        """The folder of the copy."""
        key = hashlib.sha256(self.remote.address.encode()).hexdigest()[:12]
        return cache_folder() / "remote" / key / self.remote.name

    def fetch(self) -> None:
        """Copy header and index as they are now, once on each machine, and check the shards' sizes.

        Raises:
            UserError: where there is no finished store, a shard is missing, or nothing is reached
        """
        self._copy("header.json", "this is no token store")
        self.fetch_index()
        header, index = read_header(self.folder), StoreIndex.read(self.folder)
        expected, found = shard_sizes(index, header), self.remote.sizes("shards")
        for name, size in expected.items():
            if found is not None and found.get(f"{name}.bin", -1) not in (size, None):
                raise UserError(
                    f"{self.remote.address}/shards/{name}.bin is missing or damaged: "
                    "copy the store there again"
                )
        for path in (self.folder / "shards").glob("*.bin"):
            if path.stem not in expected:
                remove(path)

    def fetch_index(self) -> None:
        self._copy(NAME, "the token store isn't finished, or was copied without it")

    def _copy(self, name: str, missing: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            try:
                self.remote.copy(name, self.folder / name)
            except LostError as error:
                raise LostError(f"{error}: {missing}") from error

    def open(self) -> TokenStore:
        """Open the copy that `fetch` made; asks for nothing at the address."""
        header, index = read_header(self.folder), StoreIndex.read(self.folder)
        return TokenStore(self.folder, header, index, RemoteShards(self, header, index))

    def fetch_shard(self, name: str, size: int) -> None:
        """Copy a shard unless it is there; processes that want the same one wait for it.

        There are 16 locks, so at most as many shards are copied at once.
        """
        path = self.folder / "shards" / f"{name}.bin"
        path.parent.mkdir(exist_ok=True)
        with locked(path.with_name(f".{name[0]}.lock")):
            if shard_size(path) != size:
                self.remote.copy(f"shards/{path.name}", path, size)


class RemoteShards(Shards):
    """Shards of a copy; one that isn't in it is fetched before it is read."""

    def __init__(self, store: RemoteStore, header: Header, index: StoreIndex):
        super().__init__(store.folder / "shards")
        self.store, self.header = store, header
        self.sizes = shard_sizes(index, header)

    def _open(self, name: str) -> BinaryIO:
        if shard_size(self.folder / f"{name}.bin") != self.sizes[name]:
            self.store.fetch_shard(name, self.sizes[name])
        return super()._open(name)

    def newest_index(self) -> StoreIndex:
        self.store.fetch_index()
        index = super().newest_index()
        self.sizes |= shard_sizes(index, self.header)
        return index


def open_store(tokens: str | Path) -> TokenStore:
    """Open the store in a folder, or at an address, that the user named."""
    if isinstance(tokens, str) and is_address(tokens):
        store = RemoteStore.at(tokens)
        store.fetch()
        return store.open()
    return TokenStore.open(user_path(tokens, "tokens"))
