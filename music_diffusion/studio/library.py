"""What the studio may read: its own folder, the folders it was given, and the models in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from audio.files import AUDIO_SUFFIXES
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from foundation.settings import CONFIG
from music_diffusion.commands.runs import BASE

OWN = "studio"  # the root of what the studio made
UPLOADS = "uploads"  # the folder in it of what was sent, to start from
SHOWN = (*AUDIO_SUFFIXES, ".png", ".html")  # what a browser may get
DEPTH = 4  # folders below a root in which models are looked for
MOST = 500  # folders that are listed


@dataclass(frozen=True)
class Library:
    """Folders by name, and references to files in them: `NAME/path/in/it`.

    A reference is all that a browser sees and sends. Links lead nowhere outside a root, names
    that begin with a dot are not there, and only sound, pictures and pages can be read.
    """

    roots: dict[str, Path]

    @classmethod
    def of(cls, own: Path, folders: Sequence[str | Path]) -> "Library":
        """Name the folders, those of the same name with a number; UserError if one is missing."""
        roots = {OWN: own}
        for given in folders:
            path = user_path(given, "folders")
            if not path.is_dir():
                raise MissingFileError(f"no such folder: {given}")
            name = path.resolve().name or "root"
            number, unique = 2, name
            while unique in roots:
                unique, number = f"{name} {number}", number + 1
            roots[unique] = path
        return cls({name: path.resolve() for name, path in roots.items()})

    def find(self, reference: str) -> Path:
        """Return the path of a reference; UserError, without a path, if it leads nowhere."""
        name, _, rest = reference.partition("/")
        parts = PurePosixPath(rest).parts
        unfit = any(part == ".." or part.startswith((".", "/")) for part in parts)
        if name not in self.roots or unfit or "\0" in rest or "\\" in rest:
            raise MissingFileError(f"there is no {reference[:200]!r} here")
        root = self.roots[name]
        path = root.joinpath(*parts).resolve()
        if not path.is_relative_to(root) or not path.exists():
            raise MissingFileError(f"there is no {reference[:200]!r} here")
        return path

    def file(self, reference: str, suffixes: Sequence[str] = SHOWN) -> Path:
        """Return the path of a file that may be read, of one of these kinds."""
        path = self.find(reference)
        if not path.is_file() or path.suffix.lower() not in suffixes:
            raise MissingFileError(f"there is no {reference[:200]!r} here")
        return path

    def reference(self, path: Path) -> str:
        """Return the reference of a path in one of the roots; the innermost where several fit."""
        inside = [(name, root) for name, root in self.roots.items() if path.is_relative_to(root)]
        if not inside:
            raise UserError("a file lies outside the studio's folders")
        name, root = max(inside, key=lambda item: len(item[1].parts))
        return name if path == root else f"{name}/{path.relative_to(root).as_posix()}"

    def models(self) -> list[str]:
        """List the models: the base ones, and references of checkpoints and exports."""
        found = []
        for name, root in self.roots.items():
            if name != OWN:
                found += [self.reference(path) for path in models_in(root)]
        return [*BASE, *found]

    def model(self, name: str) -> str:
        """Return what `load_model` takes for a name of `models`; UserError for another."""
        if name in BASE:
            return name
        path = self.find(name)
        if not (path.suffix == ".ckpt" or (path / CONFIG).is_file()):
            raise UserError(f"{name} is no model: choose one of the list")
        return str(path)

    def runs(self) -> list[str]:
        """List references of the folders with a run's checkpoints or curves, newest first."""
        found = [
            folder
            for name, root in self.roots.items()
            if name != OWN
            for folder in folders_in(root)
            if (folder / "checkpoints").is_dir() or (folder / "curves.csv").is_file()
        ]
        return [self.reference(path) for path in sorted(found, key=modified, reverse=True)]

    def audio_folders(self) -> list[str]:
        """List references of the folders that hold audio files themselves, but uploads."""
        found = [folder for root in self.roots.values() for folder in folders_in(root)]
        sent = self.roots[OWN] / UPLOADS
        return [self.reference(one) for one in found if one != sent and audio_in(one)]


def folders_in(root: Path) -> Iterator[Path]:
    """Yield a folder and those below it, MOST at most, without hidden and linked ones."""
    waiting, count = [(root, 0)], 0
    while waiting and count < MOST:
        folder, depth = waiting.pop(0)
        count += 1
        yield folder
        if depth < DEPTH:
            below = (path for path in entries(folder) if path.is_dir() and not path.is_symlink())
            waiting += [(path, depth + 1) for path in below]


def models_in(root: Path) -> Iterator[Path]:
    """Yield checkpoints and exported folders below a folder."""
    for folder in folders_in(root):
        if (folder / CONFIG).is_file():
            yield folder
        yield from (path for path in entries(folder) if path.suffix == ".ckpt" and path.is_file())


def audio_in(folder: Path) -> list[Path]:
    """List the audio files in a folder, not in those below it, and no links."""
    found = (path for path in entries(folder) if path.suffix.lower() in AUDIO_SUFFIXES)
    return [path for path in found if path.is_file() and not path.is_symlink()]


def entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:  # it may not be read, or has just been deleted
        return []


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
