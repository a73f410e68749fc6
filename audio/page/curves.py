"""Curves of a run: numbers over the training steps, from the tables in its folder, as SVG."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from pathlib import Path

Points = dict[float, float]  # value by step
Curves = dict[str, Points]
TABLES = ("curves.csv", "fad.csv", "copies.csv")  # of the callbacks
LOGGED = "**/metrics.csv"  # of Lightning's CSVLogger
MOST = 300  # points that are drawn of a curve
WIDTH, HEIGHT, MARGIN = 360, 150, 6
IMPORTANT = ("loss", "bits", "fad", "kad", "copies")
NOT_CURVES = ("step", "epoch")


def read_curves(folder: Path) -> Curves:
    """Read what the callbacks kept and, where there is one, the newest log of the CSV logger."""
    logs = sorted(folder.glob(LOGGED), key=lambda path: path.stat().st_mtime)
    curves: Curves = defaultdict(dict)
    for path in (*(folder / name for name in TABLES), *logs[-1:]):
        if path.is_file():
            for name, step, value in read_table(path):
                curves[name][step] = value
    return {name: points for name, points in sorted(curves.items()) if len(points) > 1}


def read_table(path: Path) -> Iterable[tuple[str, float, float]]:
    """Yield the name, step and value of each finite number in a table with a column `step`."""
    with path.open(newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            step = number(row.get("step"))
            for name, text in row.items():
                if name and name not in NOT_CURVES and step is not None:
                    value = number(text)
                    if value is not None:
                        yield name, step, value


def number(text: object) -> float | None:
    """Return a finite number that a text holds, else None."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def panels(curves: Curves) -> dict[str, Curves]:
    """Group curves that share an axis: all losses, all bits, then by the name before the slash."""
    grouped: dict[str, Curves] = defaultdict(dict)
    for name, points in curves.items():
        grouped[panel_of(name)][name] = points
    known = [title for title in IMPORTANT if title in grouped]
    return {title: grouped[title] for title in (*known, *sorted(grouped.keys() - {*known}))}


def panel_of(name: str) -> str:
    first, last = name.split("/")[0], name.split("/")[-1]
    if last == "loss":
        return "loss"
    if "bits" in last:
        return "bits"
    return first if first in ("fad", "kad", "copies") else last


def draw(title: str, curves: Curves) -> str:
    """Draw curves on one pair of axes, as a figure of HTML with their names and last values."""
    steps = [step for points in curves.values() for step in points]
    values = [value for points in curves.values() for value in points.values()]
    low, high = min(values), max(values)
    spread = (high - low) or abs(high) or 1.0
    first, span = min(steps), (max(steps) - min(steps)) or 1.0
    lines, names = [], []
    for index, (name, points) in enumerate(curves.items()):
        xy = " ".join(
            f"{MARGIN + (step - first) / span * (WIDTH - 2 * MARGIN):.1f},"
            f"{HEIGHT - MARGIN - (value - low) / spread * (HEIGHT - 2 * MARGIN):.1f}"
            for step, value in thinned(points)
        )
        colour = f"c{index % 4}" + (" dashed" if name.endswith("_floor") else "")
        lines.append(f'<polyline class="{colour}" points="{xy}"/>')
        last = points[max(points)]
        names.append(f'<li class="{colour}">{escape(name)} <b>{last:.4g}</b></li>')
    return (
        f'<figure class="curve"><figcaption>{escape(title)}</figcaption>'
        f'<div class="plot"><span class="high">{high:.4g}</span><span class="low">{low:.4g}</span>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)} over the '
        f'steps">{"".join(lines)}</svg><span class="first">step {first:.0f}</span>'
        f'<span class="last">{max(steps):.0f}</span></div><ul>{"".join(names)}</ul></figure>'
    )


def thinned(points: Points) -> list[tuple[float, float]]:
    """Return at most MOST points in the order of steps, means of neighbours, and the last."""
    ordered = sorted(points.items())
    size = -(-len(ordered) // (MOST - 1))
    if size == 1:
        return ordered
    groups = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [(mean(s for s, _ in g), mean(v for _, v in g)) for g in groups] + ordered[-1:]


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
