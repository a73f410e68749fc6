"""Audio that grows window by window, on disk, so that an interrupted song can be resumed."""

import os
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from audio.crossfade import crossfade
from foundation.arrays import read_npz
from foundation.errors import UserError, unreadable
from foundation.files import replacing


class Buffer(Protocol):
    """Audio [B, C, T] that grows window by window; `end` counts its samples."""

    path: Path

    @property
    def end(self) -> int: ...
    @property
    def windows(self) -> int: ...
    def read(self, start: int, stop: int) -> Tensor: ...
    def append(self, audio: Tensor, begin: int) -> None: ...


class AudioBuffer:
    """Audio [B, C, T] in a file, joined from windows that may overlap.

    `end` counts the samples and `windows` the windows that were appended. The last `overlap`
    samples are also saved as they were before the next window fades in, so that a window whose
    writing was interrupted can be appended again: the result is equal bit for bit. An existing
    file is opened where it ends.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int, int], overlap: int, style: str = "linear"
    ):
        self.path, self.shape, self.overlap, self.style = path, shape, overlap, style
        self.state = path.with_suffix(".npz")
        self.end = self.windows = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.state.is_file():
            path.write_bytes(b"")
            return
        with unreadable(f"{self.state} is damaged", f"delete {path.parent} to start again"):
            state = read_npz(self.state)
            self.end, self.windows = (count(state[name]) for name in ("end", "windows"))
            tail = torch.from_numpy(state["tail"])
            self._check(tail)
        self._write(self.end - tail.shape[-1], tail)

    def _check(self, tail: Tensor) -> None:
        """Raise ValueError for a state that isn't of this song or of its file."""
        there = self.path.stat().st_size if self.path.is_file() else 0
        if self.end > self.shape[-1] or self.windows > self.end:
            raise ValueError(f"it has {self.windows} windows that end at {self.end}")
        if self.end * self._frame > there:
            raise ValueError(f"{self.path.name} has less than the {self.end} samples it should")
        if tail.shape != (*self.shape[:2], min(self.overlap, self.end)):
            raise ValueError(f"its overlap has the shape {list(tail.shape)}")
        if tail.dtype != torch.float32 or not tail.isfinite().all():
            raise ValueError("its overlap holds no audio")

    def read(self, start: int, stop: int) -> Tensor:
        """Return samples start to stop [B, C, stop - start], silence where there are none yet."""
        out = torch.zeros(*self.shape[:2], stop - start)
        first, last = max(0, start), min(stop, self.end)
        if first < last:
            with open(self.path, "rb") as file:
                file.seek(first * self._frame)
                data = file.read((last - first) * self._frame)
            frames = torch.frombuffer(bytearray(data), dtype=torch.float32)
            frames = frames.view(-1, *self.shape[:2])  # [T, B, C]
            out[..., first - start : last - start] = frames.permute(1, 2, 0)
        return out

    def append(self, audio: Tensor, begin: int) -> None:
        """Append audio [B, C, N] whose first sample belongs at `begin`, up to the buffer's length.

        What it has before the buffer's last `overlap` samples is dropped.

        Raises:
            UserError: for audio that is not finite
        """
        overlap = min(self.overlap, self.end)
        start = self.end - overlap
        if not begin <= start < begin + audio.shape[-1] - overlap:
            raise ValueError(
                f"audio from {begin} to {begin + audio.shape[-1]} can't be joined at {self.end} "
                f"with an overlap of {overlap} samples"
            )
        audio = audio.float().cpu()[..., start - begin :]
        if not audio.isfinite().all():
            raise UserError(
                f"{self.path.stem} made samples that are not finite: train it again, or use "
                "another checkpoint"
            )
        if overlap:
            faded = crossfade(self.read(start, self.end), audio[..., :overlap], self.style)
            audio = torch.cat([faded, audio[..., overlap:]], dim=-1)
        audio = audio[..., : self.shape[-1] - start]
        self._write(start, audio)
        self.end, self.windows = start + audio.shape[-1], self.windows + 1
        self._save()

    @property
    def _frame(self) -> int:
        """Count the bytes of one sample of every channel of every song."""
        return 4 * self.shape[0] * self.shape[1]

    def _write(self, start: int, audio: Tensor) -> None:
        with open(self.path, "r+b") as file:
            file.seek(start * self._frame)
            file.write(audio.permute(2, 0, 1).contiguous().numpy().tobytes())
            file.flush()
            os.fsync(file.fileno())

    def _save(self) -> None:
        """Record how much audio there is, once it is on disk."""
        tail = self.read(max(0, self.end - self.overlap), self.end).numpy()
        with replacing(self.state) as temporary, open(temporary, "wb") as file:
            np.savez(file, end=self.end, windows=self.windows, tail=tail)


def count(array: np.ndarray) -> int:
    """Return a number of the state, which counts something."""
    if array.shape or array.dtype.kind not in "iu" or array < 0:
        raise ValueError(f"it counts {array}")
    return int(array)
