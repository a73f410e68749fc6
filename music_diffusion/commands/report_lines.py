"""The report on a folder of music as text."""

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from audio.measure import Measured
from datamodules.music_report import MusicReport
from foundation.durations import clock, spoken
from foundation.files import printable
from foundation.program import program
from music_diffusion.commands.machine import Machine
from music_diffusion.commands.plans import PLANS, Plan, choose

NAMED = 3  # tracks of a kind
CHANNELS = {1: "mono", 2: "stereo"}


def about(report: MusicReport) -> list[str]:
    """Say what was found, a line for each kind of thing."""
    first = f"{printable(report.root)}: {count(len(report.tracks), 'track')}, {hours(report.hours)}"
    return [first, *(f"  {name:<12}{text}" for name, text in rows(report) if text)]


def rows(report: MusicReport) -> Iterator[tuple[str, str]]:
    """Yield name and text of what there is to say; "" where there is nothing."""
    seconds = sorted(track.seconds for track in report.tracks)
    yield "lengths", lengths(seconds)
    yield "rates", counted({f"{rate} Hz": n for rate, n in sorted(report.rates.items())})
    kinds = {CHANNELS.get(n, f"{n} channels"): files for n, files in report.channels.items()}
    yield "channels", counted(kinds)
    yield "loudness", loudness(report.loudness)
    worst = [f"{named(report, one)} {60 * one.clips / one.seconds:.0f}" for one in report.clipped]
    yield "clipping", listed(worst, "track", "clipped places a minute: ")
    yield "silence", silence(report)
    same = [" = ".join(named(report, one) for one in group) for group in report.duplicates]
    yield "duplicates", listed(same, "group")
    broken = [printable(reason) for reason in report.unreadable.values()]
    yield "unreadable", listed(broken, "file")
    yield "not music", printable(report.left_out)
    yield "split", split(report)


def lengths(seconds: list[float]) -> str:
    """Say between which of the sorted lengths tracks are."""
    if len(seconds) == 1:
        return clock(seconds[0])
    middle = clock(seconds[len(seconds) // 2])
    return f"{clock(seconds[0])} to {clock(seconds[-1])}, half of them below {middle}"


def loudness(values: list[float]) -> str:
    if not values:
        return ""
    low, high = np.percentile(values, [25, 75])
    spread = f", half of the tracks between {low:.0f} and {high:.0f}" if len(values) > 8 else ""
    return f"{values[0]:.1f} to {values[-1]:.1f} LUFS{spread}"


def silence(report: MusicReport) -> str:
    total = sum(track.seconds for track in report.tracks)
    share = sum(track.silence for track in report.tracks) / total
    if share < 0.005 and not report.silent:
        return ""
    mostly = listed([named(report, one) for one in report.silent], "track", "mostly silent: ")
    return f"{share:.0%} of the time" + (f"; {mostly}" if mostly else "")


def split(report: MusicReport) -> str:
    train, validation = report.split()
    text = f"{count(len(train), 'track')}, {hours(sum(train) / 3600)}, to train on"
    return f"{text}; {len(validation)}, {hours(sum(validation) / 3600)}, to validate"


def advice(report: MusicReport, machine: Machine) -> list[str]:
    """Say what each plan takes on a machine, and which command to use."""
    train, _ = report.split()
    lines = [f"on this machine ({machine}), about:"]
    head = ("configs", "window", "windows", "steps/epoch", "memory", "a step", "all steps")
    table = [head, *(row(plan, train, machine) for plan in PLANS)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        rest = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
        lines.append(f"  {cells[0]:<{widths[0]}}  {'  '.join(rest)}")
    music = shlex.quote(printable(report.root.absolute()))
    options = choose(machine).command(music, report.hours)
    return [*lines, "", "to train on it:", f"  {program()} fit {options}"]


def row(plan: Plan, train: list[float], machine: Machine) -> tuple[str, ...]:
    step = plan.step_seconds(machine)
    memory = f"{plan.memory / 1e9:.1f} GB" + (" !" if plan.memory > machine.memory else "")
    return (
        plan.name,
        f"{plan.window:.1f} s",
        f"{plan.windows(train):,}",
        f"{plan.steps_an_epoch(train):,.3g}",
        memory,
        spoken(step),
        spoken(step * plan.steps),
    )


def named(report: MusicReport, track: Measured) -> str:
    return printable(report.name(track))


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def hours(number: float) -> str:
    return f"{number:.1f} h" if number >= 1 else f"{60 * number:.1f} min"


def counted(kinds: Mapping[str, int]) -> str:
    """Say how many of each kind, or that all are of one."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return ", ".join(f"{number} of {kind}" for kind, number in kinds.items())


def listed(texts: list[str], noun: str, about: str = "") -> str:
    """Count texts and show the first of them; "" for none."""
    if not texts:
        return ""
    more = ", …" if len(texts) > NAMED else ""
    return f"{count(len(texts), noun)}, {about}{', '.join(texts[:NAMED])}{more}"
