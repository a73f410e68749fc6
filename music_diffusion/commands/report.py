"""`report`: is it music, how far from real music, and is it copied? From Python or the shell."""

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from audio import files as audio
from audio.page.write import PAGE, check_ours
from foundation.checks import check_at_least
from foundation.files import output_folder, printable, read_json, user_path, write_json
from foundation.request import check_seconds
from metrics.embedding import Embedding, MissingWeights
from metrics.embedding_names import DEFAULT, EmbeddingChoice, make_embedding
from metrics.logmel import LogMel
from metrics.memorisation import TrainingMusic
from music_diffusion.commands.fad import find_device
from music_diffusion.commands.options import call
from music_diffusion.report.clips import Clips, cut, generated_files, length_of, unseen
from music_diffusion.report.judge import judge_distances, judge_pitch_classes, judge_traits
from music_diffusion.report.page import write_report_page
from music_diffusion.report.summary import summary

log = logging.getLogger(__name__)
FILE = "report.json"


def report(
    generated: str | Path,
    reference: str | Path,
    training: str | Path | None = None,
    embedding: EmbeddingChoice = DEFAULT,
    seconds: float | None = None,
    num_clips: int = 64,
    out: str | Path | None = None,
    device: str = "auto",
) -> Path:
    """Judge generated music by all measures; write report.json and a page, and return its path.

    Half of the reference's clips are what the others are compared with; the other half, held out,
    show what real music of the same kind gets. Where the embedding's weights aren't downloaded,
    log-mel statistics alone give the distances.

    Args:
        generated: a run, whose newest demos are judged, a folder of audio, or a file
        reference: real music that the model wasn't trained on
        training: the music it was trained on, to look for copies of it
        embedding: what distances are computed from, as for `fad`
        seconds: length of a clip; the default is the generated files', 10 at most
        num_clips: the most clips of each side
        out: the folder of the report; the default is `report` in a run's folder, and for a folder
            of audio one beside it, so that the report's audio isn't taken for generated music
        device: auto, cpu, or a device of this machine

    Raises:
        UserError: for folders that aren't there or hold too little
    """
    check_at_least(2, num_clips=num_clips)
    source, where = user_path(generated, "generated"), find_device(device)
    found = generated_files(source)
    length = length_of(found) if seconds is None else seconds
    check_seconds(length)
    real = audio.find(reference)
    trained = None if training is None else audio.find(training)
    folder = output_folder(place_of(source) if out is None else out)
    clips = cut(found, length, num_clips)
    all_real = cut(real, clips.seconds, 2 * num_clips)
    control = None if trained is None else unseen(all_real, trained)
    check_ours(folder / PAGE)
    content = judge(clips, all_real, embeddings(embedding), where)
    copies = None
    if trained and control:
        music = TrainingMusic.of(trained, where)
        copies = music.compare(music.near(clips.audio, where), music.near(control.audio, where))
        content["memorisation"] = asdict(copies) | {"clips": [printable(p) for p in clips.paths]}
    title = printable(source.absolute().name)
    page = write_report_page(folder, f"Report on {title}", content, clips, copies)
    write_json(folder / FILE, content)
    return page


def place_of(source: Path) -> Path:
    """Return the folder of a report by default."""
    if (source / "demos").is_dir():
        return source / "report"
    return source.absolute().with_name(f"{source.absolute().stem}_report")


def embeddings(choice: EmbeddingChoice) -> list[Embedding]:
    """Make the embedding, and the one without weights."""
    try:
        made = make_embedding(choice)
    except MissingWeights as error:
        log.warning("%s; until then distances are of log-mel statistics alone", error)
        return [LogMel()]
    return [made] if isinstance(made, LogMel) else [made, LogMel()]


def judge(
    clips: Clips, all_real: Clips, chosen: list[Embedding], device: torch.device
) -> dict[str, object]:
    """Measure all that needs no training music."""
    reference, held_out = (all_real.some(range(i, len(all_real.paths), 2)) for i in (0, 1))
    sets = {"generated": clips, "held_out": held_out}
    return {
        "generated": about(clips),
        "reference": about(reference),
        "held_out": about(held_out),
        "distances": {one.name: judge_distances(one, sets, reference, device) for one in chosen},
        "traits": {name: judge_traits(one, reference) for name, one in sets.items()},
        "pitch_class_divergence": {
            name: judge_pitch_classes(one, reference) for name, one in sets.items()
        },
    }


def about(clips: Clips) -> dict[str, object]:
    return {
        "files": len({*clips.paths}),
        "clips": len(clips.paths),
        "seconds": round(clips.seconds, 3),
        "notes": clips.notes,
    }


def run(args: list[str]) -> None:
    page = call("report", report, args)
    print("\n".join(summary(read_json(page.with_name(FILE)))))
    print(f"open {page} in a browser")
