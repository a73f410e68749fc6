"""The page of a report: its figures, and the nearest passages to hear beside the clips."""

from pathlib import Path

from audio import files as audio
from audio.page.clips import ClipReader
from audio.page.render import render
from audio.page.sections import Row, Section, cell_of
from audio.page.tables import Table
from audio.page.write import PAGE, check_ours, save
from foundation.files import printable, replacing
from metrics.memorisation import Memorisation
from music_diffusion.report.clips import Clips
from music_diffusion.report.verdict import verdict

PASSAGES = "passages"  # the folder beside the page
SHOWN = 12  # passages, the nearest first
DISTANCES = {
    "fad": ("Frechet distance", "less is nearer; biased upwards by few clips, deceived by noise"),
    "fad_extrapolated": ("the same, of endlessly many clips", "less is nearer"),
    "kad": ("kernel distance", "less is nearer; about 0 for what can't be told apart"),
    "precision": ("precision", "share of what was generated that is like the real music"),
    "recall": ("recall", "share of the real music that something generated is like"),
    "density": ("density", "precision that counts how much real music is near"),
    "coverage": ("coverage", "share of the real music with something generated nearby"),
    "mauve_type": ("MAUVE-type divergence", "1 for the same music, towards 0"),
}
MARGINS = {"fad_extrapolated": "fad_margin", "kad": "kad_margin"}
TRAITS = {
    "tonal_peak": "how few pitch classes sound at a time; noise in music's colour has 0.14",
    "beat_clarity": "how regular attacks are; noise has 0.1",
    "tempo": "beats a minute",
    "tempo_clarity": "how well the tempo holds for four beats",
    "key_clarity": "share of the likeliest of 24 keys",
    "pitch_classes": "how many a clip uses: 1 to 12",
    "loudness": "LUFS",
    "loudness_range": "dB between loud and quiet moments",
    "brightness": "centre of the spectrum, octaves over 1 kHz",
}
COPIES = {
    "notes": "correlation of the nearest 2.5 s, over all shifts and transpositions",
    "sound": "distance to the nearest second in log-mel statistics, its sign changed",
}


def write_report_page(
    folder: Path, title: str, content: dict, clips: Clips, copies: Memorisation | None
) -> Path:
    """Write index.html about what report.json holds, and the audio it plays; return its path.

    Raises:
        UserError: where the folder holds another program's page
    """
    check_ours(folder / PAGE)
    folder.mkdir(parents=True, exist_ok=True)
    sections = [passages_section(folder, clips, copies)] if copies else []
    made, real = content["generated"], content["reference"]
    note = (
        f"{made['clips']} generated clips of {made['seconds']:g} s beside {real['clips']} of real "
        f"music and {content['held_out']['clips']} more of it, held out: "
        + "; ".join(verdict(content))
    )
    return save(folder, render(folder, title, note, sections, {}, {}, tables_of(content)))


def tables_of(content: dict) -> list[Table]:
    """Lay out all figures of a report."""
    tables = [copies_table(content["memorisation"])] if "memorisation" in content else []
    tables += [distance_table(name, sides) for name, sides in content["distances"].items()]
    return [*tables, trait_table(content)]


def distance_table(name: str, sides: dict) -> Table:
    rows = [
        [label, *(figure(sides[side], key, MARGINS.get(key)) for side in sides), meaning]
        for key, (label, meaning) in DISTANCES.items()
    ]
    note = "Held-out real music of the same tracks shows what can be reached. ± is a 95 % interval."
    return Table(f"Distances of {name}", note, ["", "generated", "held out", ""], rows)


def trait_table(content: dict) -> Table:
    """Lay out what clips are like, and how far that is from real music."""
    made, held_out = (content["traits"][side] for side in ("generated", "held_out"))
    rows = [
        [
            name.replace("_", " "),
            figure(made[name], "generated", "generated_margin"),
            figure(made[name], "reference", "reference_margin"),
            figure(made[name], "distance"),
            figure(held_out.get(name, {}), "distance"),
            meaning,
        ]
        for name, meaning in TRAITS.items()
        if name in made
    ]
    pitch = content["pitch_class_divergence"]
    sides = (figure(pitch, side) for side in ("generated", "held_out"))
    rows.append(["pitch-class divergence", "", "", *sides, "of the notes used, in bits, 0 to 1"])
    head = ["", "generated", "real", "distance", "held out", ""]
    note = (
        "Distances are between the distributions over clips, in deviations of the real one; the "
        "column held out shows that of real music to real music."
    )
    return Table("Traits", note, head, rows)


def copies_table(found: dict) -> Table:
    """Lay out how much nearer to the training music the clips are than real ones are."""
    keys = ("generated", "control", "threshold", "rate", "nearer")
    rows = [
        [name, *(figure(found[name], key) for key in keys), meaning]
        for name, meaning in COPIES.items()
    ]
    untransposed = (figure(found, key) for key in ("in_key", "control_in_key"))
    meaning = "share whose nearest passage isn't transposed; 0.08 by chance"
    rows.append(["in its key", *untransposed, "", "", "", meaning])
    head = ["", "generated", "control", "its 99th percentile", "above it", "nearer", ""]
    note = (
        f"The control is {found['control_clips']} clips of real music that the model wasn't "
        f"trained on. Without any copying 0.01 lie above its 99th percentile, and a clip is nearer "
        f"than a real one with probability 0.5. Training music: {found['training_files']} files."
    )
    return Table("Copies of the training music", note, head, rows)


def figure(values: dict, key: str, margin: str | None = None) -> str:
    """Write a number with half its interval; a dash for one that few clips don't tell."""
    value = values.get(key)
    if value is None:
        return "–"
    half = values.get(margin) if margin else None
    return plain(value, 3) if half is None else f"{plain(value, 3)} ± {plain(half, 2)}"


def plain(value: float, digits: int) -> str:
    """Write a number with so many digits, and without an exponent where it is large."""
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if 1000 <= abs(value) < 1e9 else text


def passages_section(folder: Path, clips: Clips, copies: Memorisation) -> Section:
    """Write the nearest passages beside their clips, so that both match at the same time."""
    order = sorted(range(len(clips.paths)), key=lambda i: -copies.passages[i].score)[:SHOWN]
    with replacing(folder / PASSAGES) as temporary:
        for number, i in enumerate(order):
            write_pair(temporary, number, clips, i, copies)
    reader = ClipReader(folder)
    rows = []
    for number, i in enumerate(order):
        paths = [folder / PASSAGES / f"{number:02d}_{name}.flac" for name in ("clip", "training")]
        cells = [cell_of(*pair, reader) for pair in zip(paths, ("clip", "training"), strict=True)]
        rows.append(Row(title_of(clips.paths[i], copies, i), cells))
    return Section("Nearest passages of the training music", rows)


def write_pair(folder: Path, number: int, clips: Clips, i: int, copies: Memorisation) -> None:
    """Write a clip, and as much of the track around the passage that is nearest to it."""
    passage = copies.passages[i]
    start = max(0.0, passage.seconds - passage.clip_seconds)
    places = {"clip": (clips.paths[i], clips.starts[i]), "training": (Path(passage.track), start)}
    for name, (path, seconds) in places.items():
        rate = audio.probe(path).sample_rate
        part = audio.read(
            path, round(seconds * rate), round(clips.seconds * rate), too_loud="scale"
        )
        audio.write(folder / f"{number:02d}_{name}.flac", part[:2], rate)


def title_of(path: Path, copies: Memorisation, i: int) -> str:
    """Say in a line what fits what, and how well."""
    one = copies.passages[i]
    minutes, seconds = divmod(one.seconds, 60)
    turned = f", {one.semitones:+d} semitones" if one.semitones else ""
    above = "above" if one.score > copies.notes.threshold else "below"
    clip, track = printable(path.name), printable(Path(one.track).name)
    return (
        f"{one.score:.2f} ({above} the control's 99th percentile): {clip} at "
        f"{one.clip_seconds:.1f} s, {track} at {minutes:.0f}:{seconds:04.1f}{turned}"
    )
