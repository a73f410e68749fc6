"""Sections, curves and settings as the HTML of one page that needs no network and no server."""

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

from audio.page.clips import HALF, Clip, Picture
from audio.page.curves import IMPORTANT, Curves, draw, panels
from audio.page.sections import Cell, Row, Section
from audio.page.settings import Part
from audio.page.tables import Table, table_html
from foundation.files import bytes_of

HERE = Path(__file__).parent
SPINE = 0.002  # of a picture's width or height, the line around its plot


@cache
def part(name: str) -> str:
    """Read a file of the template."""
    return (HERE / name).read_text()


def render(
    folder: Path,
    title: str,
    note: str,
    sections: Sequence[Section],
    curves: Curves,
    documents: dict[str, str],
    tables: Sequence[Table] = (),
) -> str:
    """Return the page for `index.html` in `folder`, to which its links are relative.

    Args:
        folder: where the page will be
        title: of the page
        note: a line below it
        sections: the clips
        curves: values by step, by name
        documents: texts of settings and origins by name
        tables: of numbers, above the clips
    """
    script = part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(part("page.html")).substitute(
        title=escape(title),
        note=escape(note),
        style=part("page.css"),
        script=script,
        script_hash=digest,
        contents=contents(tables, sections, curves, documents),
        tables="".join(table_html(i, table) for i, table in enumerate(tables)),
        clips="".join(section_html(folder, i, section) for i, section in enumerate(sections)),
        curves=curves_html(curves),
        documents=documents_html(documents),
    )


def contents(
    tables: Sequence[Table],
    sections: Sequence[Section],
    curves: Curves,
    documents: dict[str, str],
) -> str:
    """Return links to the parts of the page; a single one needs none."""
    links = [(f"table{i}", table.title) for i, table in enumerate(tables)]
    links += [(f"part{i}", section.title) for i, section in enumerate(sections)]
    links += [("curves", "Curves")] if curves else []
    links += [("settings", "Settings")] if documents else []
    if len(links) < 2:
        return ""
    return "".join(f'<a href="#{target}">{escape(title)}</a>' for target, title in links)


def section_html(folder: Path, index: int, section: Section) -> str:
    rows = "".join(row_html(folder, row, section.kind) for row in section.rows)
    return f'<section id="part{index}"><h2>{escape(section.title)}</h2>{rows}</section>'


def row_html(folder: Path, row: Row, kind: str) -> str:
    """Return a row; all clips in it have the time axis of the longest, unless it wraps."""
    longest = max((cell.clip.seconds for cell in row.cells if cell), default=0.0)
    cells = "".join(
        cell_html(folder, cell, cell.clip.seconds if kind == "wraps" else longest)
        if cell
        else '<div class="empty">none</div>'
        for cell in row.cells
    )
    heading = f"<h3>{escape(row.title)}</h3>" if row.title else ""
    name = escape(row.title or "Clips")
    return f'{heading}<div class="row {kind}" role="group" aria-label="{name}">{cells}</div>'


def cell_html(folder: Path, cell: Cell, axis: float) -> str:
    clip, label = cell.clip, escape(cell.label)
    source = escape(link(clip.path, folder))
    width = f"width:{100 * clip.seconds / (axis or 1):.2f}%"
    settings = f"<details><summary>settings</summary><pre>{escape(cell.settings)}</pre></details>"
    return (
        f'<article class="cell"><header><h4>{label}</h4><span>{length(clip.seconds)}</span>'
        f'</header><div class="view" data-axis="{axis:.3f}">{waveform_html(clip, width)}'
        f"{picture_html(clip.picture, folder, width)}{part_html(cell.part, axis)}</div>"
        f"{part_line(cell.part)}"
        f'<audio controls preload="none" src="{source}" aria-label="{label}"></audio>'
        f"{settings if cell.settings else ''}</article>"
    )


def part_html(part: Part | None, axis: float) -> str:
    """Return the mark of the part that a model made over waveform and spectrogram."""
    if part is None:
        return ""
    left, wide = (100 * at / (axis or 1) for at in (part.start, part.stop - part.start))
    return f'<div class="part" style="left:{left:.2f}%;width:{wide:.2f}%"></div>'


def part_line(part: Part | None) -> str:
    return "" if part is None else f'<p class="times">{escape(str(part))}</p>'


def waveform_html(clip: Clip, width: str) -> str:
    return (
        f'<svg class="waveform" style="{width}" viewBox="-0.5 0 {clip.bars} {2 * HALF}" '
        f'preserveAspectRatio="none" aria-hidden="true" data-key="{clip.key}" '
        f'data-seconds="{clip.seconds:.4f}"><path d="{clip.waveform}"/></svg>'
    )


def picture_html(picture: Picture | None, folder: Path, width: str) -> str:
    """Return the plot alone of a spectrogram: its axes lie outside the frame."""
    if picture is None:
        return ""
    source = escape(link(picture.path, folder))
    return (
        f'<div class="spectrogram" style="{width}">'
        f'<img src="{source}" style="{plot_style(picture)}" alt="spectrogram" loading="lazy"></div>'
    )


def plot_style(picture: Picture) -> str:
    """Return the place of a picture in a frame that shows its plot alone, as CSS."""
    left, top = picture.plot.left + SPINE, picture.plot.top + SPINE
    wide, high = picture.plot.right - SPINE - left, picture.plot.bottom - SPINE - top
    return (
        f"width:{100 / wide:.2f}%;height:{100 / high:.2f}%;"
        f"left:{-100 * left / wide:.2f}%;top:{-100 * top / high:.2f}%"
    )


def curves_html(curves: Curves) -> str:
    """Return the losses and distances, and the other curves folded away."""
    if not curves:
        return ""
    figures = {title: draw(title, group) for title, group in panels(curves).items()}
    shown = "".join(figure for title, figure in figures.items() if title in IMPORTANT)
    others = "".join(figure for title, figure in figures.items() if title not in IMPORTANT)
    more = f'<details><summary>Others</summary><div class="curves">{others}</div></details>'
    return (
        f'<section id="curves"><h2>Curves</h2><div class="curves">{shown}</div>'
        f"{more if others else ''}</section>"
    )


def documents_html(documents: dict[str, str]) -> str:
    if not documents:
        return ""
    folded = "".join(document(name, text) for name, text in documents.items())
    return f'<section id="settings"><h2>Settings</h2>{folded}</section>'


def document(name: str, text: str) -> str:
    return f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"


def length(seconds: float) -> str:
    """Return 4.25 s, or 3:07 from a minute on."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes else f"{seconds:.2f} s"


def link(path: Path, folder: Path) -> str:
    """Return a relative link to a file, percent-encoded, from a page in a folder."""
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    return quote(bytes_of(Path(relative).as_posix()))
