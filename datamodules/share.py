"""Which files of a folder a job encodes, and what it says of those that can't be."""

from dataclasses import dataclass
from pathlib import Path

from datamodules.store_parts import hash_of
from foundation.errors import UserError, unreadable
from foundation.files import bytes_of, read_json, remove, write_json


@dataclass(frozen=True)
class Share:
    """The part `index` of `count` of the files, by a hash of their names; all of them by default.

    Shares never overlap, and a file's share doesn't depend on the other files.
    """

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> "Share":
        """Read "I/N", with I from 1 to N; None is everything."""
        if text is None:
            return cls()
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise UserError(f"shard must be I/N with I from 1 to N, such as 2/4, got {text!r}")
        return cls(int(index) - 1, int(count))

    def part(self, index: int, count: int) -> "Share":
        """Return the part `index` of `count` of this share."""
        return Share(self.index + self.count * index, self.count * count)

    def __contains__(self, name: str) -> bool:
        number = int.from_bytes(hash_of([bytes_of(name)])[:8], "little")
        return number % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}-of-{self.count}"


def write_manifest(folder: Path, share: Share, listing: str, failed: dict[str, str]) -> None:
    """Record that a share is done: of which list of files, and why some of them have no tokens."""
    content = {"listing": listing, "failed": failed}
    write_json(folder / "parts" / f"{share}.json", content)


def read_manifests(folder: Path, listing: str) -> dict[str, str]:
    """Return why files of any share have no tokens, by their names."""
    failed: dict[str, str] = {}
    for path in sorted((folder / "parts").glob("*-of-*.json")):
        content = read_json(path, "delete it and encode again")
        with unreadable(f"{path} is damaged", "delete it and encode again"):
            if content["listing"] == listing:
                failed |= {str(name): str(why) for name, why in content["failed"].items()}
    return failed


def remove_manifests(folder: Path) -> None:
    """Delete what shares said, when all are done."""
    for path in (folder / "parts").glob("*-of-*.json"):
        remove(path)
