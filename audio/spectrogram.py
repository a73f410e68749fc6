"""A picture of the sound: power over time and pitch."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = -100.0  # dB below a full-scale sine, drawn black
LOWEST = 40  # Hz
ROWS = 300  # of the picture, an octave of 44.1 kHz audio has 33
MARKS = (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)  # Hz
COLOURS = "magma"
PLOT = "plot"  # the text in a PNG file that says where the plot is
NUMBERS = re.compile(r"(?:[0-9]+\.[0-9]{4} ){4}[0-9]+\.[0-9]{4}")


@dataclass(frozen=True)
class Plot:
    """Where in a picture the sound is: its edges as shares of the width or height, from top left.

    `seconds` is how much sound it shows.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    seconds: float = math.inf


def decibels(audio: Tensor, window_length: int = 4096) -> Tensor:
    """Measure the power of audio [C, T], mixed to mono, in dB [F, N]; 0 is a full-scale sine."""
    window = torch.hann_window(window_length)
    spectrum = torch.stft(
        audio.mean(0).cpu().float(),
        window_length,
        window_length // 4,
        window=window,
        pad_mode="constant",  # reflection refuses audio shorter than half a window
        return_complex=True,
    )
    return 20 * (spectrum.abs() * 2 / window.sum()).clamp(min=1e-9).log10()


def octaves(spectrum: Tensor, sample_rate: int) -> Tensor:
    """Turn rows of even frequencies [F, N] into ROWS of even pitch, from LOWEST to the highest.

    A row shows the loudest frequency in it, or the nearest where there is none.
    """
    highest = len(spectrum) - 1
    edges = np.geomspace(LOWEST, sample_rate / 2, ROWS + 1) * 2 / sample_rate * highest
    bins = np.rint(edges).astype(int).clip(0, highest)
    return torch.stack([spectrum[a : max(a + 1, b)].amax(0) for a, b in itertools.pairwise(bins)])


def write_spectrogram(path: str | Path, audio: Tensor, sample_rate: int) -> np.ndarray:
    """Draw audio [C, T] to a PNG file and return the picture [H, W, 3] in 0..255.

    The file says where in the picture the plot is, for `read_plot`.
    """
    return write_spectrograms(path, {"": audio}, sample_rate)


def write_spectrograms(
    path: str | Path, clips: Mapping[str, Tensor], sample_rate: int
) -> np.ndarray:
    """Draw clips [C, T] below each other under their titles; return the picture [H, W, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure
    from matplotlib.image import imsave

    figure = Figure(figsize=(8, 4 if len(clips) == 1 else 3 * len(clips)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    rows = figure.subplots(len(clips), squeeze=False)[:, 0]
    for axes, (title, audio) in zip(rows, clips.items(), strict=True):
        draw(axes, audio, sample_rate)
        axes.set_title(title, loc="left")
    rows[-1].set_xlabel("seconds")
    canvas.draw()  # by which the axes get their places
    seconds = max(audio.shape[-1] for audio in clips.values()) / sample_rate
    text = {PLOT: place(rows[0], seconds)} if len(clips) == 1 else {}
    imsave(path, canvas.buffer_rgba(), format="png", metadata=text)  # type: ignore[arg-type]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw(axes: "Axes", audio: Tensor, sample_rate: int) -> None:
    """Draw audio [C, T] on axes, with a scale of pitch and a bar of its colours."""
    picture = axes.imshow(
        octaves(decibels(audio), sample_rate).numpy(),
        origin="lower",
        aspect="auto",
        extent=(0, audio.shape[-1] / sample_rate, 0, ROWS),
        cmap=COLOURS,
        vmin=FLOOR,
        vmax=0,
    )
    marks = [mark for mark in MARKS if mark <= sample_rate / 2]
    heights = [ROWS * math.log(mark / LOWEST, sample_rate / 2 / LOWEST) for mark in marks]
    axes.set_yticks(heights, [f"{mark // 1000}k" if mark >= 1000 else str(mark) for mark in marks])
    axes.set_ylabel("Hz")
    axes.figure.colorbar(picture, label="dB", ax=axes)


def place(axes: "Axes", seconds: float) -> str:
    """Write as text where in its figure a plot of so much sound is."""
    left, bottom, right, top = axes.get_position().extents
    return " ".join(f"{number:.4f}" for number in (left, 1 - top, right, 1 - bottom, seconds))


def write_plain(path: str | Path, spectrum: Tensor) -> None:
    """Draw a spectrum in dB [F, N] to a PNG file of N by F pixels, without axes."""
    from matplotlib.image import imsave  # slow to import

    imsave(path, spectrum.numpy(), cmap=COLOURS, vmin=FLOOR, vmax=0, origin="lower", format="png")


def read_plot(path: str | Path) -> Plot | None:
    """Read where the plot is in a PNG file of `write_spectrogram`; None for any other file."""
    from PIL import Image  # which matplotlib needs, too

    try:
        with Image.open(path) as picture:
            text = str(picture.info.get(PLOT))
    except OSError:
        return None
    return Plot(*map(float, text.split())) if NUMBERS.fullmatch(text) else None
