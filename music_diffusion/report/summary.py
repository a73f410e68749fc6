"""A report in a few lines: its key figures, and what they say."""

from collections.abc import Iterator

from music_diffusion.report.page import figure
from music_diffusion.report.verdict import NOISE, verdict

SHOWN = {  # of the distances
    "kad": ("kernel distance", "kad_margin"),
    "precision": ("precision", None),
    "coverage": ("coverage", None),
}


def summary(content: dict) -> list[str]:
    """Say in lines what report.json holds: figures beside those of held-out music, a verdict."""
    rows = list(figures(content))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
    return [*lines, *verdict(content)]


def figures(content: dict) -> Iterator[tuple[str, str, str]]:
    """Yield the name of a measure, its value for the clips, and for held-out real music."""
    yield "", "generated", "real, held out"
    name, sides = next(iter(content["distances"].items()))
    made, real = sides["generated"], sides["held_out"]
    for key, (label, margin) in SHOWN.items():
        yield f"{label}, {name}", figure(made, key, margin), figure(real, key, margin)
    made, real = content["traits"]["generated"], content["traits"]["held_out"]
    for key in NOISE:
        if key in made:
            values = figure(made[key], "generated"), figure(real.get(key, {}), "generated")
            yield key.replace("_", " "), *values
    if "memorisation" in content:
        notes = content["memorisation"]["notes"]
        yield "nearest training passage", figure(notes, "generated"), figure(notes, "control")
