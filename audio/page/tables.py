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
    """Return a table as a part of the page; on a phone its rows are cards, with its heads."""
    named = (f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in table.head)
    head = "".join(named)
    rows = "".join(row_html(row, table.head) for row in table.rows)
    return (
        f'<section id="table{index}"><h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>'
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def row_html(row: Sequence[str], head: Sequence[str]) -> str:
    cells = "".join(map(cell_html, row[1:], head[1:]))
    return f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'


def cell_html(text: str, head: str) -> str:
    named = f' data-head="{escape(head)}"' if head else ""
    return f"<td{named}>{escape(text)}</td>"
