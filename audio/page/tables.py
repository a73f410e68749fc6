"""Tables of numbers on a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first cell of each names it, and the last may explain it."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def table_html(index: int, table: Table) -> str:
    """Return a table as a part of the page."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.head)
    rows = "".join(row_html(row) for row in table.rows)
    return (
        f'<section id="table{index}"><h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>'
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def row_html(row: Sequence[str]) -> str:
    first, *others = row
    cells = "".join(f"<td>{escape(text)}</td>" for text in others)
    return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
