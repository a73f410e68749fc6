"""A picture of the sound: power over time and frequency."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FLOOR = -100.0  # dB below a full-scale sine, drawn black


def decibels(audio: Tensor, window_length: int = 2048) -> Tensor:
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


def write_spectrogram(path: str | Path, audio: Tensor, sample_rate: int) -> np.ndarray:
    """Draw audio [C, T] to a PNG file and return the picture [H, W, 3] in 0..255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="seconds", ylabel="kHz")
    extent = (0, audio.shape[-1] / sample_rate, 0, sample_rate / 2000)
    picture = axes.imshow(
        decibels(audio).numpy(),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=FLOOR,
        vmax=0,
    )
    figure.colorbar(picture, label="dB")
    canvas.print_png(str(path))
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
