"""What stands where on a page: clips in rows that belong together, by the names of their files."""

import filecmp
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio.page.clips import PLAYED, Clip, ClipReader
from audio.page.settings import Part, entry, part_of, settings_of
from foundation.files import printable

Files = dict[str, Path]  # of a folder, by their names without suffix

MOST = 400  # clips on a page; of a run the newest
STEP = re.compile(r"step_0*(\d+)")
NUMBERED = re.compile(r"(?P<name>.+)_(?P<number>\d+)")
REFERENCE = "reference"  # the folder of what demos are compared with
ORDER = ("original", "song", "round_trip", "real", "target", "coarser", "context")  # then others
LEFT_OUT = re.compile(r"\..*|index_files|pictures|parts|checkpoints|report|wandb|earlier_\d+")
LAST = ("sample", "noise", "refined")


@dataclass(frozen=True)
class Cell:
    """A clip in a row, by a label, with the text of its settings and the part a model made."""

    label: str
    clip: Clip
    settings: str = ""
    part: Part | None = None


@dataclass(frozen=True)
class Row:
    """Clips that are compared: they have one time axis. None leaves a place empty."""

    title: str
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Section:
    """Rows under a title.

    `kind` is columns where all clips are side by side on one time axis, steps where the last is the
    one of interest, and wraps where clips are listed, each on its own time axis.
    """

    title: str
    rows: Sequence[Row]
    kind: Literal["columns", "steps", "wraps"] = "columns"


def find_clips(root: Path) -> list[Path]:
    """List the files that browsers play under a folder, without those of other pages and runs."""
    found, folders = [], [root]
    while folders:
        for path in folders.pop().iterdir():
            if LEFT_OUT.fullmatch(path.name):
                continue
            if path.is_dir() and not path.is_symlink():  # a link may lead back up
                folders.append(path)
            elif path.suffix.lower() in PLAYED and path.is_file():
                found.append(path)
    return sorted(found)


def sections_of(root: Path, files: Sequence[Path], reader: ClipReader) -> list[Section]:
    """Arrange a folder's clips: the newest demos, demos over the steps, and its other folders."""
    folders: dict[Path, Files] = defaultdict(dict)
    for path in files:
        files_there = folders[path.parent]
        files_there[path.name if path.stem in files_there else path.stem] = path
    sections = []
    for demos in sorted({folder.parent for folder in folders if STEP.fullmatch(folder.name)}):
        steps = {f: folders.pop(f) for f in sorted(folders) if is_step(f, demos)}
        sections.append(newest_demos(steps, folders.pop(demos / REFERENCE, {}), reader))
        sections.append(demos_over_steps(steps, reader))
    for folder, inside in sorted(folders.items()):
        for model, clips in by_model(inside).items():
            sections.append(folder_section(root, folder, clips, reader, model))
    return [section for section in sections if section.rows]


def is_step(folder: Path, parent: Path) -> bool:
    return folder.parent == parent and STEP.fullmatch(folder.name) is not None


def by_model(files: Files) -> dict[str, Files]:
    """Divide a folder's files where several models made them; the models' names, or ""."""
    models: dict[str, Files] = defaultdict(dict)
    for name, path in files.items():
        made_by = entry(settings_of(path), "made", "name")
        models[made_by if isinstance(made_by, str) else ""][name] = path
    return dict(sorted(models.items())) if len(models) > 1 else {"": files}


def newest_demos(steps: dict[Path, Files], reference: Files, reader: ClipReader) -> Section:
    """Lay out the newest demos beside what they are compared with."""
    newest = list(steps)[-1]
    return Section(f"Demos at {step_name(newest)}", by_number(reference | steps[newest], reader))


def demos_over_steps(steps: dict[Path, Files], reader: ClipReader) -> Section:
    """Lay out each demo that changes over the steps in a row."""
    names = sorted(set().union(*steps.values()), key=place)
    paths = {name: [files.get(name) for files in steps.values()] for name in names}
    labels = [step_name(step) for step in steps]
    rows = [
        Row(name, [cell_of(*item, reader) for item in zip(paths[name], labels, strict=True)])
        for name in names
        if changes(paths[name])
    ]
    return Section("Over training, the same seed", rows, "steps")


def changes(paths: Sequence[Path | None]) -> bool:
    """Say whether files differ; real music is the same at each step."""
    first, *others = [path for path in paths if path]
    return any(not filecmp.cmp(first, other, shallow=False) for other in others)


def step_name(folder: Path) -> str:
    return f"step {STEP.fullmatch(folder.name)[1]}"  # type: ignore[index]


def folder_section(
    root: Path, folder: Path, files: Files, reader: ClipReader, model: str = ""
) -> Section:
    """Lay out a folder: `a_0, b_0` in a row and `a_1, b_1` in the next, or all in one."""
    title = printable(folder.relative_to(root)) if folder != root else "In this folder"
    title += f", by {printable(model)}" if model else ""
    firsts, numbers = zip(*map(split_name, files), strict=True)
    if len(set(firsts)) > 1 and any(numbers.count(number) > 1 for number in numbers if number):
        return Section(title, by_number(files, reader))
    cells = [cell_of(files[name], printable(name), reader) for name in sorted(files, key=place)]
    return Section(title, [Row("", [cell for cell in cells if cell])], "wraps")


def by_number(files: Files, reader: ClipReader) -> list[Row]:
    """Put `name_0` of all names in one row, `name_1` in the next."""
    rows: dict[str, Files] = defaultdict(dict)
    for name, path in files.items():
        first, number = split_name(name)
        rows[number][first] = path
    names = sorted({name for row in rows.values() for name in row}, key=place)
    return [
        Row(
            f"No. {number}" if number else "",
            [cell_of(row.get(name), name.replace("_", " "), reader) for name in names],
        )
        for number, row in sorted(rows.items(), key=lambda item: int(item[0] or -1))
    ]


def split_name(name: str) -> tuple[str, str]:
    """Split `sample_3` into its name and number; "" where it has none."""
    match = NUMBERED.fullmatch(name)
    return (match["name"], match["number"]) if match else (name, "")


def place(name: str) -> tuple[int, str, int]:
    """Sort what is real first and what is generated last."""
    first, number = split_name(name)
    known = ORDER.index(first) if first in ORDER else len(ORDER) + (first in LAST)
    return known, first, int(number or 0)


def comparison(roots: Sequence[Path], reader: ClipReader, most: int = MOST) -> Section:
    """Lay out folders as columns, with the files of one name in a row."""
    labels = distinct_names(roots)
    names: dict[str, dict[int, Path]] = defaultdict(dict)
    for index, root in enumerate(roots):
        for path in find_clips(root):
            names[str(path.relative_to(root).with_suffix(""))][index] = path
    rows = []
    for name, paths in sorted(names.items(), key=lambda item: (-len(item[1]), item[0])):
        cells = [cell_of(paths.get(i), label, reader) for i, label in enumerate(labels)]
        if any(cells) and len(rows) < max(1, most // len(roots)):
            rows.append(Row(printable(name), cells))
    return Section("Side by side", rows)


def distinct_names(roots: Sequence[Path]) -> list[str]:
    """Return the folders' names, with those of as many folders above as tell them apart."""
    parts = [root.absolute().parts for root in roots]
    for depth in range(1, max(map(len, parts))):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(root) for root in roots]


def cell_of(path: Path | None, label: str, reader: ClipReader) -> Cell | None:
    """Read a clip with its settings; None where there is no file, or a broken one."""
    clip = reader.read(path) if path else None
    if clip is None:
        return None
    content = settings_of(clip.path)
    text = "" if content is None else json.dumps(content, indent=1)
    return Cell(printable(label), clip, text, part_of(content, clip.seconds))
