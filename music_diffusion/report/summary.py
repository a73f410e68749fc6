"""A report in a few lines: its key figures, and what they say."""

from collections.abc import Iterator

from music_diffusion.report.page import figure

NOISE = {"tonal_peak": 0.17, "beat_clarity": 0.15}  # noise in music's colour has 0.14 and 0.10
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


def verdict(content: dict) -> list[str]:
    """Say whether it is music, how far from real music, and whether it is copied."""
    said = [distance_verdict(content["distances"])]
    made = content["traits"]["generated"]
    below = [key in made and made[key]["generated"] < least for key, least in NOISE.items()]
    if all(below):
        said.insert(0, "noise rather than music: few tones stand out, and no beat does")
    if "memorisation" in content:
        said.append(copies_verdict(content["memorisation"], content["generated"]["clips"]))
    return said


def distance_verdict(distances: dict) -> str:
    """Compare the kernel distance with that of held-out music, within their intervals."""
    made, real = (next(iter(distances.values()))[side] for side in ("generated", "held_out"))
    low = made["kad"] - (made["kad_margin"] or 0)
    if low <= real["kad"] + (real["kad_margin"] or 0):
        return "the kernel distance doesn't tell the clips from held-out real music"
    return "the kernel distance tells the clips from real music: they are farther than held-out"


def copies_verdict(found: dict, clips: int) -> str:
    """Count the clips that are nearer to the training music than nearly all real ones."""
    near = max(round(found[key]["rate"] * clips) for key in ("notes", "sound"))
    if near:
        return (
            f"{near} of {clips} clips are nearer to the training music than 99 % of real ones "
            "(by chance 1 in 100 is): listen to them on the page"
        )
    return (
        f"no sign of copies: none of {clips} clips is nearer to the training music than real ones"
    )
