"""Audio that grows window by window, on disk, so that an interrupted song can go on."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jbdiff.crossfade import crossfade


class Tape:
    """Audio [B, C, T] in a memory-mapped file, joined from windows that may overlap.

    `end` counts the samples and `windows` the windows that are there. The last `overlap` samples
    are kept as they were before the next window fades in, so that a window which was cut off can be
    joined again: an interrupted tape goes on bit for bit. An existing file is opened where it ends.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int, int], overlap: int, style: str = "linear"
    ):
        self.overlap, self.style, self.state = overlap, style, path.with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.state.is_file()
        self.samples = np.memmap(path, np.float32, mode="w+" if fresh else "r+", shape=shape)
        self.end = self.windows = 0
        if not fresh:
            with np.load(self.state) as state:
                self.end, self.windows = int(state["end"]), int(state["windows"])
                tail = state["tail"]
                self.samples[..., self.end - tail.shape[-1] : self.end] = tail

    def read(self, start: int, stop: int) -> Tensor:
        """Copy samples start to stop [B, C, stop - start], silence where there are none yet."""
        out = torch.zeros(*self.samples.shape[:2], stop - start)
        first, last = max(0, start), min(stop, self.end)
        if first < last:
            out[..., first - start : last - start] = torch.from_numpy(
                np.array(self.samples[..., first:last])
            )
        return out

    def append(self, audio: Tensor, begin: int) -> None:
        """Join audio [B, C, N] whose first sample belongs at `begin`, up to the tape's length.

        What it has before the last `overlap` samples of the tape is dropped.
        """
        overlap = min(self.overlap, self.end)
        start = self.end - overlap
        if not begin <= start < begin + audio.shape[-1] - overlap:
            raise ValueError(
                f"audio from {begin} to {begin + audio.shape[-1]} can't be joined at {self.end} "
                f"with an overlap of {overlap} samples"
            )
        audio = audio.float().cpu()[..., start - begin :]
        if overlap:
            faded = crossfade(self.read(start, self.end), audio[..., :overlap], self.style)
            audio = torch.cat([faded, audio[..., overlap:]], dim=-1)
        stop = min(start + audio.shape[-1], self.samples.shape[-1])
        self.samples[..., start:stop] = audio[..., : stop - start].numpy()
        self.end, self.windows = stop, self.windows + 1
        self._save()

    def _save(self) -> None:
        """Put the samples on disk, then what says that they are there."""
        self.samples.flush()
        tail = np.array(self.samples[..., max(0, self.end - self.overlap) : self.end])
        temporary = self.state.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            np.savez(file, end=self.end, windows=self.windows, tail=tail)
        os.replace(temporary, self.state)
