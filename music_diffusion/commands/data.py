"""data: what a folder of music holds, and how to train on it on this machine."""

import logging
from typing import Literal

from audio import files as audio_files
from datamodules.music_report import MusicReport, examine
from foundation.checks import check_fraction
from foundation.errors import UserError
from foundation.files import user_path, write_json
from music_diffusion.commands.first_look import ask_about_home
from music_diffusion.commands.machine import this_machine
from music_diffusion.commands.options import call
from music_diffusion.commands.plans import PLANS
from music_diffusion.commands.report_lines import about, advice

log = logging.getLogger(__name__)
MANY = 500  # files, from where on it is said how many there are


def run(args: list[str]) -> None:
    report = call("data", data, args)
    print("\n".join([*about(report), "", *advice(report, this_machine())]))


def data(
    audio: str,
    json: str | None = None,
    headers_only: bool = False,
    val_fraction: float = 0.1,
    too_loud: Literal["skip", "clip", "scale"] = "skip",
) -> MusicReport:
    """Say what a folder of music holds, what training on it takes here, and the command for it.

    All of it is decoded, some 200 times faster than it plays, in the memory of ten seconds.

    Args:
        audio: a folder, searched with all its folders, or one file
        json: a file that gets the report as JSON
        headers_only: don't listen: no loudness, clipping, silence and duplicates
        val_fraction: share of the tracks that training would keep for validation
        too_loud: what training is to do with a file of floats beyond 8, where full scale is 1

    Raises:
        UserError: where there is no music
    """
    check_fraction(val_fraction=val_fraction)
    place = None if json is None else user_path(json, "json")
    root = user_path(audio, "audio")
    ask_about_home(root)
    count = len(audio_files.find(root))
    if count > MANY and not headers_only:
        log.info("%s holds %d files: --headers_only true doesn't listen to them", root, count)
    report = examine(root, too_loud, headers_only)
    report.val_fraction = val_fraction
    if not report.tracks:
        reason = next(iter(report.unreadable.values()))
        raise UserError(f"none of the {count} files in {root} can be read, such as: {reason}")
    if place is not None:
        write_json(place, as_json(report))
    return report


def as_json(report: MusicReport) -> dict[str, object]:
    """Return the report, and what each plan takes on this machine, as JSON holds it."""
    machine, (train, _) = this_machine(), report.split()
    plans = {
        plan.name: {
            "window_seconds": plan.window,
            "windows": plan.windows(train),
            "steps_an_epoch": plan.steps_an_epoch(train),
            "memory_bytes": plan.memory,
            "step_seconds": plan.step_seconds(machine),
            "steps": plan.steps,
        }
        for plan in PLANS
    }
    return {**report.as_dict(), "machine": str(machine), "plans": plans}
