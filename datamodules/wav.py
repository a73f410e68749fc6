"""Windows of audio files, as the model asks for them."""

import logging
import random
from dataclasses import replace
from typing import Literal

from torch import Tensor
from torch.nn.functional import pad

from audio import files as audio_files
from datamodules.messages import log_once
from datamodules.music_data import MusicDataModule
from datamodules.tracks import Track, Tracks, scan, split
from datamodules.windows import Windows
from foundation.checks import check_at_least, check_fraction, check_not_empty
from foundation.errors import UserError
from foundation.windows import AudioWindow

UNSET = -1  # of an option under its old name


class Augment:
    """Random gain, swap of channels and change of sign, alike for a window and its context."""

    def __init__(self, gain_db: float = 0.0, channel_swap: float = 0.0, phase_invert: float = 0.0):
        check_at_least(0, gain_db=gain_db)
        check_fraction(channel_swap=channel_swap, phase_invert=phase_invert)
        self.gain_db, self.channel_swap, self.phase_invert = gain_db, channel_swap, phase_invert

    def __call__(self, samples: Tensor, draw: random.Random) -> Tensor:
        """Change samples [C, T]; the gain is limited so that the peak doesn't exceed 1."""
        gain = 10 ** (draw.uniform(-self.gain_db, self.gain_db) / 20)
        if draw.random() < self.phase_invert:
            samples = -samples
        if draw.random() < self.channel_swap:
            samples = samples.flip(0)
        if gain > 1:
            gain = min(gain, max(1.0, 1 / max(samples.abs().max().item(), 1e-9)))
        return samples if gain == 1 else samples * gain


class AudioWindows(Windows):
    """Windows of audio files: {"audio": [C, T], "context": [C, Tc]}, the latter if Tc isn't 0."""

    def __init__(
        self,
        tracks: Tracks,
        window: AudioWindow,
        augment: Augment | None = None,
        too_loud: audio_files.TooLoud = "skip",
    ):
        super().__init__(tracks, window.length, window.align)
        self.window, self.augment = window, augment or Augment()
        self.too_loud: audio_files.TooLoud = too_loud

    def cut(self, track: Track, start: int, draw: random.Random | None = None) -> dict[str, Tensor]:
        samples = self.read(track, start)
        if draw is not None:
            samples = self.augment(samples, draw)
        context = self.window.context
        if not context:
            return {"audio": samples}
        return {"audio": samples[:, context:], "context": samples[:, :context]}

    def read(self, track: Track, start: int) -> Tensor:
        """Read context and window to [C, Tc + T], with silence outside the track."""
        window = self.window
        begin, total = start - window.context, window.context + window.length
        first = max(0, begin)
        samples = audio_files.read(
            track.path,
            first,
            min(start + window.length, max(track.stop, first + 1)) - first,
            window.sample_rate,
            window.channels,
            self.too_loud,
        )
        missing = first - begin
        return pad(samples, (missing, total - missing - samples.shape[-1]))


class WavDataModule(MusicDataModule):
    """Load {"audio": [B, C, T], "context": [B, C, Tc], "cond": {name: B values}} from audio files.

    The model's `window` (an AudioWindow) sets rate, channels and lengths.

    Args:
        audio: a folder of music, searched with all its folders, or one file; demo music if null
        batch_size: windows in a batch of one process
        num_workers: processes that read windows, for each process that trains
        val_fraction: share of the tracks that is kept for validation, chosen by their names
        val_audio: a folder of validation music, instead of a share of `audio`
        short: what to do with tracks shorter than a window: pad with silence, or skip
        windows_per_epoch: random windows an epoch; as many as cover the tracks once if null
        val_windows: fixed windows to validate on at most; all if null
        seed: of the split, the order and the windows
        gain_db: the largest random change of level, in dB
        channel_swap: how often to swap left and right, 0 to 1
        phase_invert: how often to change the sign, 0 to 1
        sidecar: a .csv or .jsonl file with metadata of the tracks, named in its column `track`
        licence: of the music, written into checkpoints, such as cc-by-4.0
        too_loud: what to do with a file of floats beyond 8, where full scale is 1: skip it, clip it
            to 1, or scale it, by the full scale of integers or by its peak
        labels: metadata that the model is told: folder, a column of the sidecar, or several,
            '[folder, mood]'
        crops_per_epoch: old name of windows_per_epoch
        val_crops: old name of val_windows
        global_batch: windows in an optimizer's step, of all processes together, which then sets
            accumulate_grad_batches; val_check_interval in batches stays the same in steps
    """

    short_action = "padded with silence"

    def __init__(
        self,
        audio: str | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        val_audio: str | None = None,
        short: str = "pad",
        windows_per_epoch: int | None = None,
        val_windows: int | None = 64,
        seed: int = 0,
        gain_db: float = 0.0,
        channel_swap: float = 0.0,
        phase_invert: float = 0.0,
        sidecar: str | None = None,
        licence: str | None = None,
        too_loud: Literal["skip", "clip", "scale"] = "skip",
        crops_per_epoch: int | None = UNSET,
        val_crops: int | None = UNSET,
        labels: list[str] | str | None = None,
        global_batch: int | None = None,
    ):
        check_not_empty(val_audio=val_audio)
        super().__init__(
            audio,
            sidecar,
            batch_size,
            num_workers,
            val_fraction,
            short,
            renamed("crops_per_epoch", crops_per_epoch, "windows_per_epoch", windows_per_epoch),
            renamed("val_crops", val_crops, "val_windows", val_windows),
            seed,
            licence,
            too_loud,
            labels,
            global_batch,
        )
        self.val_audio = val_audio
        self.augment = Augment(gain_db, channel_swap, phase_invert)
        self._scanned: AudioWindow | None = None
        self._found: dict[tuple[str, int], Tracks] = {}

    @property
    def window(self) -> AudioWindow:
        window = getattr(self.model, "window", None)
        if not isinstance(window, AudioWindow):
            name = type(self.model).__name__
            raise UserError(f"{name}.window must be a foundation.windows.AudioWindow, is {window}")
        return window

    def window_lengths(self) -> tuple[int, float]:
        return self.window.length, self.window.seconds

    def find_tracks(self) -> None:
        """Scan the music; other processes find the result in the cache."""
        if self._scanned == self.window:
            return
        tracks = self.scan(self.music_folder())
        if self.val_audio:
            self.use_tracks(tracks, self.scan(self.val_audio))
        else:
            self.use_tracks(*split(tracks, self.val_fraction, self.seed))
        self._scanned = self.window

    def scan(self, folder: str) -> Tracks:
        """Find a folder's tracks, once in a process."""
        key = folder, self.window.sample_rate
        if key not in self._found:
            self._found[key] = scan(*key, self.sidecar, self.too_loud)
        return self._found[key]

    def windows(self, tracks: Tracks, validation: bool = False) -> AudioWindows:
        window = self.window
        if validation:
            window = replace(window, length=window.val_length or window.length)
        return AudioWindows(tracks, window, self.augment, self.too_loud)


def renamed(old_name: str, old: int | None, name: str, value: int | None) -> int | None:
    """Return the value given under an option's old name, with a notice, or else under its name."""
    if old == UNSET:
        return value
    log_once(logging.WARNING, f"{old_name} is now called {name}")
    return old
