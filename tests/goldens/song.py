"""Check what sampling songs is made of against the golden `jbdiff_sampler_utils`."""

import math
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from audio import files as audio
from audio.crossfade import crossfade, weights
from datamodules.tracks import Track, Tracks
from datamodules.wav import AudioWindows
from foundation.windows import AudioWindow
from jbdiff.noise_paths import base_noise, noise_path
from tests.goldens import jbdiff
from tests.goldens.format import Case, Golden

UNIT = 2.0**-24  # of samples that hold their own indices, all below full scale
Rows = Iterator[tuple[str, str, float]]


def check(golden: Golden) -> Rows:
    yield from jbdiff.check_levels(golden)
    for name, case in golden.cases.items():
        if name == "base_noise":
            yield from check_base_noise(case)
        elif name == "wave_noise":
            yield from check_wave_noise(case)
        elif name == "xfade":
            yield from check_fades(case)
        elif name == "index_offset":
            yield from check_offsets(case)


def check_base_noise(case: Case) -> Rows:
    """Our own step size is honoured; the reference always has 0.05 where none is named."""
    c = case.config
    count, window = c["num_window_shifts"], c["base_tokens"]
    for name in case.outputs:
        style, _, step = name.partition("_step_")
        path = base_noise(c["shape"][1], window, count, style, float(step or 0.05), c["noise_seed"])
        yield case.name, name, case.compare(name, torch.cat(list(path), dim=-1))


def check_wave_noise(case: Case) -> Rows:
    c = case.config
    for style in case.outputs:
        path = noise_path(tuple(c["shape"]), style, c["step"], c["seed"])
        rows = [noise[0] for _, noise in zip(range(c["updates"] + 1), path, strict=False)]
        yield case.name, style, case.compare(style, torch.stack(rows))


def check_fades(case: Case) -> Rows:
    """Our linear fade is the reference's; its constant-power one fades out by 1 - sin.

    So ours is checked by what it should be: the reference's fade-in, and powers that add to 1.
    """
    old, new, n = case.input("fade_out"), case.input("fade_in"), case.config["samples"]
    for style in ("linear", "constant-power"):
        fade_in, fade_out = weights(n, style)
        mixed = crossfade(old, new, style)
        if style == "constant-power":
            if (fade_in**2 + fade_out**2 - 1).abs().max() > 1e-6:
                raise ValueError("the powers of the constant-power fade don't add to 1")
            mixed = mixed + (1 - fade_in - fade_out) * old  # what the reference has
            fade_out = 1 - fade_in
        results = {"": mixed, "_weight_in": fade_in, "_weight_out": fade_out}
        for suffix, value in results.items():
            yield case.name, style + suffix, case.compare(style + suffix, value)


def check_offsets(case: Case) -> Rows:
    """Cut with our data module where the reference cuts, from files that hold their own indices.

    Which file and offset an item has follows the reference's rule, written out in `place`: our
    data modules number crops otherwise. What is ours is the cut: that the file may be cut there,
    where the window starts, and how far back its context has samples.
    """
    if case.config["aug_shift"]:
        raise ValueError(f"{case.name}: no rule says which random shifts were drawn")
    for number, c in enumerate(case.config["sets"]):
        length, durations = c["sample_length"], c["durations"]
        count = sum(durations) // length
        with tempfile.TemporaryDirectory() as folder:
            windows = index_tracks(Path(folder), length, c["context_mult"] * length, durations)
            rows = [cut_row(windows, *place(i, length, durations)) for i in range(count)]
        name = f"set{number}"
        yield case.name, name, case.compare(name, torch.tensor(rows, dtype=torch.float64))
        yield case.name, f"{name}_len", case.compare(f"{name}_len", torch.tensor([count]))


def place(item: int, length: int, durations: list[int]) -> tuple[int, int]:
    """File and offset of an item: the window lies in the file that holds its middle.

    The files are counted through as one; a window that juts out moves in by half its length.
    """
    ends = list(accumulate(durations))
    index = bisect_left(ends, item * length + length // 2)
    duration, start = durations[index], ends[index] - durations[index]
    offset = item * length - start
    if offset > duration - length:
        offset = max(0, offset - length // 2)
    elif offset < 0:
        offset = min(duration - length, offset + length // 2)
    return index, offset


def index_tracks(folder: Path, length: int, context: int, durations: list[int]) -> AudioWindows:
    """Write files whose samples are 1, 2, 3, ... times UNIT, exact in float32."""
    assert max(durations) * UNIT < 1
    tracks = []
    for number, duration in enumerate(durations):
        path = folder / f"{number}.wav"
        audio.write(path, UNIT * torch.arange(1.0, duration + 1)[None], 44100, "FLOAT")
        tracks.append(Track(path, path.name, 0, duration))
    return AudioWindows(Tracks.of(tracks), AudioWindow(44100, length, context))


def cut_row(windows: AudioWindows, index: int, offset: int) -> list[float]:
    """Read a window and its context: file, first sample, first sample of the context.

    A window that has none before it gets context 0; -1 if it can't be cut there.
    """
    track = windows.tracks[index]
    if len(track) < windows.window.length or offset not in windows.starts(track):
        return [-1.0, -1.0, -1.0]
    samples: Tensor = windows.read(track, offset)[0] / UNIT
    context = samples[: windows.window.context]
    heard = context[context > 0]
    first = heard[0].item() - 1 if len(heard) else 0.0
    start = samples[windows.window.context].item() - 1
    assert math.isclose(samples[-1].item(), start + windows.window.length)
    return [float(index), start, first]
