"""Crops of audio files as the model's window asks for them."""

import logging
import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset

from audio import files as audio
from datamodules.data_order import check_settings, train_loader, val_loader
from datamodules.demo_music import demo_music_folder, write_demo_music
from datamodules.tracks import Track, drop_short, say, scan, split
from foundation.windows import AudioWindow

log = logging.getLogger(__name__)
ATTEMPTS = 8  # crops tried in place of one whose file is broken there


class Augment:
    """Random gain, swap of channels and change of sign, alike for a crop and its context."""

    def __init__(self, gain_db: float = 0.0, channel_swap: float = 0.0, phase_invert: float = 0.0):
        self.gain_db, self.channel_swap, self.phase_invert = gain_db, channel_swap, phase_invert

    def __call__(self, samples: Tensor, draw: random.Random) -> Tensor:
        """Change samples [C, T]; a gain stops where the peak would pass 1."""
        gain = 10 ** (draw.uniform(-self.gain_db, self.gain_db) / 20)
        if draw.random() < self.phase_invert:
            samples = -samples
        if draw.random() < self.channel_swap:
            samples = samples.flip(0)
        if gain > 1:
            gain = min(gain, max(1.0, 1 / max(samples.abs().max().item(), 1e-9)))
        return samples if gain == 1 else samples * gain


class Slots:
    """Cut tracks into window lengths, counted through: a track's share is its length."""

    def __init__(self, tracks: list[Track], window: AudioWindow):
        self.tracks, self.window = tracks, window
        counts = [max(1, -(-len(track) // window.length)) for track in tracks]
        self.ends = list(accumulate(counts))
        self.reported: set[str] = set()

    def __len__(self) -> int:
        return self.ends[-1]

    def locate(self, slot: int) -> tuple[Track, int]:
        """Find a slot's track and its number in there."""
        index = bisect_right(self.ends, slot)
        return self.tracks[index], slot - (self.ends[index - 1] if index else 0)

    def starts(self, track: Track) -> range:
        """List where a window may start: on the alignment, inside the track where it can be."""
        align = self.window.align
        first = -(-track.start // align) * align
        if first >= track.stop:
            first -= align
        return range(first, max(first, track.stop - self.window.length) + 1, align)

    def cut(self, track: Track, start: int) -> Tensor:
        """Read context and window around start to [C, Tc + T], silence where there is nothing."""
        window = self.window
        begin, total = start - window.context, window.context + window.length
        first = max(0, begin)
        samples = audio.read(
            track.path,
            first,
            min(start + window.length, max(track.stop, first + 1)) - first,
            window.sample_rate,
            window.channels,
        )
        missing = first - begin
        return pad(samples, (missing, total - missing - samples.shape[-1]))

    def first_readable(self, places: Iterable[tuple[Track, int]]) -> Tensor:
        """Cut at the first place (track, start) that can be read; name each bad file once."""
        for track, start in places:
            try:
                return self.cut(track, start)
            except (ValueError, OSError) as error:
                if track.name not in self.reported:
                    log.warning("another crop is taken: %s", error)
                self.reported.add(track.name)
        raise ValueError(f"{ATTEMPTS} crops in a row can't be read, the last of {track.path}")

    def example(self, samples: Tensor) -> dict[str, Tensor]:
        """Part samples [C, Tc + T] into context and audio."""
        context = self.window.context
        if not context:
            return {"audio": samples}
        return {"audio": samples[:, context:], "context": samples[:, :context]}


class RandomCrops(Dataset):
    """Crops that depend on seed, epoch and index alone, so any worker cuts the same ones."""

    def __init__(self, slots: Slots, num_crops: int | None, seed: int, augment: Augment):
        self.slots, self.num_crops, self.seed, self.augment = slots, num_crops, seed, augment

    def __len__(self) -> int:
        return self.num_crops or len(self.slots)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        draw = random.Random("crop {} {} {}".format(self.seed, *key))
        augment_draw = random.Random(draw.random())
        samples = self.slots.first_readable(self._places(key[1], draw))
        return self.slots.example(self.augment(samples, augment_draw))

    def _places(self, index: int, draw: random.Random) -> Iterator[tuple[Track, int]]:
        for attempt in range(ATTEMPTS):
            anywhere = self.num_crops is not None or attempt > 0
            slot = draw.randrange(len(self.slots)) if anywhere else index
            track, _ = self.slots.locate(slot)
            yield track, draw.choice(self.slots.starts(track))


class FixedCrops(Dataset):
    """Crops side by side, or `num_crops` of them evenly spread, always the same."""

    def __init__(self, slots: Slots, num_crops: int | None):
        self.slots = slots
        self.num_crops = min(num_crops or len(slots), len(slots))

    def __len__(self) -> int:
        return self.num_crops

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        # the middle of each of num_crops even parts: tracks begin in silence
        slot = (2 * key[1] + 1) * len(self.slots) // (2 * self.num_crops)
        return self.slots.example(self.slots.first_readable(self._places(slot)))

    def _places(self, slot: int) -> Iterator[tuple[Track, int]]:
        for attempt in range(ATTEMPTS):
            track, number = self.slots.locate((slot + attempt) % len(self.slots))
            starts = self.slots.starts(track)
            yield (
                track,
                starts[min(number * self.slots.window.length // starts.step, len(starts) - 1)],
            )


class WavDataModule(LightningDataModule):
    """Deliver {"audio": [B, C, T], "context": [B, C, Tc]} as `module.window` asks.

    Args:
        audio: a folder of music, searched with all its folders, or one file; demo music if null
        batch_size: passages a process takes at once
        num_workers: processes that read passages, for each process that trains
        val_fraction: share of the tracks that is kept for validation, by their names
        val_audio: a folder of validation music, instead of a share of audio
        short: what happens to tracks shorter than a passage: pad with silence, or skip
        crops_per_epoch: random passages an epoch; as many as cover the tracks once if null
        val_crops: fixed passages to validate on at most; all if null
        seed: of the split, the order and the crops
        gain_db: the most by which a passage gets louder or softer
        channel_swap: how often left and right change places, 0 to 1
        phase_invert: how often the sign changes, 0 to 1
    """

    def __init__(
        self,
        audio: str | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        val_audio: str | None = None,
        short: str = "pad",
        crops_per_epoch: int | None = None,
        val_crops: int | None = 64,
        seed: int = 0,
        gain_db: float = 0.0,
        channel_swap: float = 0.0,
        phase_invert: float = 0.0,
    ):
        super().__init__()
        check_settings(batch_size, num_workers, val_fraction, short)
        for name, count in (("crops_per_epoch", crops_per_epoch), ("val_crops", val_crops)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1 (or null), got {count}")
        self.audio, self.val_audio = audio, val_audio
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.val_fraction, self.short = val_fraction, short
        self.crops_per_epoch, self.val_crops = crops_per_epoch, val_crops
        self.augment = Augment(gain_db, channel_swap, phase_invert)
        self.train_tracks: list[Track] = []
        self.val_tracks: list[Track] = []
        self._scanned: AudioWindow | None = None

    @property
    def window(self) -> AudioWindow:
        return self.trainer.lightning_module.window

    def prepare_data(self) -> None:
        """Make the demo music where no folder was given, once a machine."""
        if self.audio is None:
            folder = demo_music_folder()
            say(logging.INFO, f"no audio folder given: using the demo music in {folder}")
            write_demo_music(folder)

    def setup(self, stage: str | None = None) -> None:
        if self._scanned == self.window:
            return
        tracks = scan(self.audio or demo_music_folder(), self.window)
        if self.val_audio:
            train, validation = tracks, scan(self.val_audio, self.window)
        else:
            train, validation = split(tracks, self.val_fraction, self.seed)
        self.train_tracks = self._drop_short(train, "training")
        if validation:
            self.val_tracks = self._drop_short(validation, "validation")
        self._scanned = self.window

    def _drop_short(self, tracks: list[Track], what: str) -> list[Track]:
        window = self.window
        return drop_short(
            tracks, window.length, window.seconds, self.short, what, "padded with silence"
        )

    def train_dataloader(self) -> DataLoader:
        slots = Slots(self.train_tracks, self.window)
        crops = RandomCrops(slots, self.crops_per_epoch, self.seed, self.augment)
        return train_loader(crops, self.trainer, self.batch_size, self.num_workers, self.seed)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if not self.val_tracks:
            return []
        window = replace(self.window, length=self.window.val_length or self.window.length)
        crops = FixedCrops(Slots(self.val_tracks, window), self.val_crops)
        return val_loader(crops, self.trainer, self.batch_size, self.num_workers)

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()
