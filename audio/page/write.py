"""The page of a folder of audio: index.html, to hear and compare without a server."""

import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audio.page.clips import DRAWN, ClipReader, key_of
from audio.page.curves import read_curves
from audio.page.render import render
from audio.page.sections import MOST, Cell, Row, Section, comparison, find_clips, sections_of
from foundation.errors import MissingFileError, UserError
from foundation.files import output_folder, printable, replacing, undone_on_error, user_path

PAGE = "index.html"
DOCUMENTS = ("provenance.json", "settings.json", "config.yaml")
OWN = re.compile(r"[0-9a-f]{16}\.\w+")  # what a page writes into DRAWN
MARK = '<meta name="color-scheme" content="dark light">'  # of our pages

log = logging.getLogger(__name__)


def write_page(folder: str | Path) -> Path:
    """Write `index.html` about the audio, curves and settings in a folder; return its path.

    The audio stays where it is, and the page links to it. Clips without a spectrogram beside them
    get one in `index_files`. What the page shows already isn't read again.

    Raises:
        MissingFileError: if there is no such folder
        UserError: if it holds another program's index.html
    """
    root = user_path(folder, "folder")
    if not root.is_dir():
        raise MissingFileError(f"no such folder: {root}")
    check_ours(root / PAGE)
    files = find_clips(root)
    newest = sorted(sorted(files, key=modified)[-MOST:])
    sections = sections_of(root, newest, ClipReader(root))
    left_out = len(files) - len(newest)
    note = count(sections) + (f"; {left_out} older ones are left out" * (left_out > 0))
    title = printable(root.absolute().name)
    return save(root, render(root, title, note, sections, read_curves(root), documents(root)))


def update_page(folder: str | Path) -> None:
    """Write the page of a folder; an error is logged only, since the audio is written already."""
    try:
        write_page(folder)
    except Exception as error:
        log.warning("no page to listen to %s: %s: %s", folder, type(error).__name__, error)
        log.debug("where it failed", exc_info=True)


def write_comparison(folders: Sequence[str | Path], out: str | Path, copy: bool = False) -> Path:
    """Write `index.html` in `out`: folders are columns, files of the same name share a row.

    Args:
        folders: with audio, such as runs or samples
        out: the folder of the page
        copy: put the audio beside the page, so that the folder can be given away

    Raises:
        MissingFileError: if one of the folders isn't there
        UserError: if no two of them have a file of the same name, or out is unfit
    """
    roots, folder = [user_path(one, "folders") for one in folders], output_folder(out)
    for root in roots:
        if not root.is_dir():
            raise MissingFileError(f"no such folder: {root}")
    check_ours(folder / PAGE)
    with undone_on_error(folder / DRAWN):
        folder.mkdir(parents=True, exist_ok=True)
        section = comparison(roots, ClipReader(folder))
        if not any(sum(cell is not None for cell in row.cells) > 1 for row in section.rows):
            raise UserError(
                f"{' and '.join(map(printable, roots))} hold no audio files of the same name: "
                "files that are to be in a row must have the same name in each folder"
            )
        sections = [copied(section, folder) if copy else section]
        title = " · ".join(printable(root.absolute().name) for root in roots)
        return save(folder, render(folder, title, count(sections), sections, {}, {}))


def save(folder: Path, page: str) -> Path:
    """Write the page, and delete what only the one before it showed."""
    with replacing(folder / PAGE) as temporary:
        temporary.write_text(page)
    drawn = folder / DRAWN
    for path in drawn.iterdir() if drawn.is_dir() else ():
        if OWN.fullmatch(path.name) and path.name not in page:
            path.unlink(missing_ok=True)
    return folder / PAGE


def check_ours(page: Path) -> None:
    """Raise UserError for a page that somebody else made."""
    if page.is_file() and MARK not in page.read_text(errors="replace")[:1000]:
        raise UserError(f"{page} was not made by this program: move it, or take another folder")


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it has just been deleted
        return 0.0


def count(sections: Sequence[Section]) -> str:
    """Count the clips in words; one may stand in two sections."""
    cells = [cell for section in sections for row in section.rows for cell in row.cells]
    number = len({cell.clip.path for cell in cells if cell})
    return f"{number} clip{'s' * (number != 1)}"


def documents(root: Path) -> dict[str, str]:
    """Read the settings and origins that lie in a folder."""
    paths = [root / name for name in DOCUMENTS]
    return {path.name: path.read_text(errors="replace") for path in paths if path.is_file()}


def copied(section: Section, folder: Path) -> Section:
    """Return a section whose clips are copies in a folder."""
    (folder / DRAWN).mkdir(exist_ok=True)
    rows = [
        Row(row.title, [copied_cell(cell, folder) for cell in row.cells]) for row in section.rows
    ]
    return replace(section, rows=rows)


def copied_cell(cell: Cell | None, folder: Path) -> Cell | None:
    if cell is None:
        return None
    clip, key = cell.clip, key_of(cell.clip.path)
    paths = [clip.path] + ([clip.picture.path] if clip.picture else [])
    copies = [folder / DRAWN / f"{key}{path.suffix.lower()}" for path in paths]
    for path, target in zip(paths, copies, strict=True):
        if os.path.abspath(path) != os.path.abspath(target):
            shutil.copyfile(path, target)
    picture = replace(clip.picture, path=copies[1]) if clip.picture else None
    return replace(cell, clip=replace(clip, path=copies[0], picture=picture))
