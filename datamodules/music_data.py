"""What the data modules of audio and of tokens do alike: settings, split, loaders."""

import logging
from abc import ABC, abstractmethod
from pathlib import Path

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from audio.files import TOO_LOUD, TooLoud
from datamodules.conditions import label_conditions, unseen
from datamodules.data_order import resumable_loader
from datamodules.demo_music import demo_music_folder, write_demo_music
from datamodules.global_batch import keep_global_batch
from datamodules.messages import log_once
from datamodules.metadata import Sidecar
from datamodules.tracks import Tracks, fingerprint
from datamodules.windows import FixedWindows, RandomWindows, Windows
from foundation.audio_module import AudioModel
from foundation.checks import check_at_least, check_choice, check_not_empty, check_workers
from foundation.conditions import Conditions
from foundation.errors import UserError
from foundation.files import printable, user_path


class MusicDataModule(LightningDataModule, ABC):
    """Load windows of training and validation tracks; a subclass finds the tracks and reads them.

    Attributes:
        train_tracks: set by `setup`
        val_tracks: set by `setup`; empty if there is no validation
        short_action: what happens to tracks shorter than a window, unless they are skipped
    """

    short_action: str

    def __init__(
        self,
        audio: str | None,
        sidecar: str | None,
        batch_size: int,
        num_workers: int,
        val_fraction: float,
        short: str,
        windows_per_epoch: int | None,
        val_windows: int | None,
        seed: int,
        licence: str | None,
        too_loud: TooLoud,
        labels: list[str] | str | None,
        global_batch: int | None = None,
    ):
        super().__init__()
        check_not_empty(audio=audio, licence=licence)
        check_choice("short", short, ("pad", "skip"))
        check_choice("too_loud", too_loud, TOO_LOUD)
        check_at_least(1, batch_size=batch_size, global_batch=global_batch)
        check_workers(num_workers)
        check_at_least(1, windows_per_epoch=windows_per_epoch, val_windows=val_windows)
        if not 0 <= val_fraction < 1:
            raise UserError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
        self.audio, self.sidecar, self.licence = audio, Sidecar.read(sidecar), licence
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.global_batch = global_batch
        self.val_fraction, self.short = val_fraction, short
        self.too_loud: TooLoud = too_loud
        self.windows_per_epoch, self.val_windows = windows_per_epoch, val_windows
        self.train_tracks, self.val_tracks = Tracks.of([]), Tracks.of([])
        self.labels = [labels] if isinstance(labels, str) else labels or []
        self._found_early = False

    @abstractmethod
    def find_tracks(self) -> None:
        """Find the tracks of training and validation; UserError where there are none."""

    @abstractmethod
    def windows(self, tracks: Tracks, validation: bool = False) -> Windows:
        """Divide tracks into windows as the model asks for them."""

    @abstractmethod
    def window_lengths(self) -> tuple[int, float]:
        """Return the length of a training window as tracks are counted, and in seconds."""

    @property
    def attached_trainer(self) -> Trainer:
        assert self.trainer is not None, "a data module works within a Trainer"
        return self.trainer

    @property
    def model(self) -> LightningModule:
        return self.attached_trainer.lightning_module

    def music_folder(self) -> str:
        """Return the folder of music that was given, or that of the demo music."""
        return self.audio or str(demo_music_folder())

    def describe(self) -> dict[str, object]:
        """Describe the music for provenance: the folder's name, tracks, hours, hash, licence."""
        parts = [self.train_tracks, self.val_tracks]
        length, seconds = self.window_lengths()
        total = sum(int(tracks.lengths.sum()) for tracks in parts)
        return {
            "folder": printable(self.source().name),
            "tracks": sum(map(len, parts)),
            "hours": total * seconds / length / 3600,
            "sha256": fingerprint(parts),
            "licence": self.licence,
        }

    def source(self) -> Path:
        """Return the folder that the tracks come from."""
        return user_path(self.music_folder(), "audio")

    def prepare_data(self) -> None:
        """Make what is read, once on each machine, and find mistakes before any logger starts."""
        self._set_accumulation()
        self.make_music()
        self.find_tracks()
        self._found_early = True

    def make_music(self) -> None:
        """Make the demo music if no folder was given."""
        if self.audio is None:
            folder = demo_music_folder()
            log_once(logging.INFO, f"no audio folder given: using the demo music in {folder}")
            write_demo_music(folder)

    def setup(self, stage: str | None = None) -> None:
        """Find the tracks, where this process didn't just do so to prepare the data."""
        self._set_accumulation()
        if not self._found_early:
            self.find_tracks()
        self._found_early = False

    def _set_accumulation(self) -> None:
        """Let a step have `global_batch` windows."""
        if self.global_batch is not None and self.attached_trainer.state.fn == "fit":
            keep_global_batch(self.attached_trainer, self.batch_size, self.global_batch)

    def use_tracks(self, train: Tracks, validation: Tracks) -> None:
        """Set the tracks of training and validation, without short ones if they are skipped."""
        if self.sidecar.fields:
            self.sidecar.warn_of_unknown(track.name for track in [*train, *validation])
        self.train_tracks = self._without_short(train, "training")
        self.val_tracks = self._without_short(validation, "validation")
        if conditions := self.conditions():
            self.tell_model(conditions)

    def conditions(self) -> Conditions:
        """Return what the model is to be told of the training tracks."""
        return label_conditions(self.train_tracks, self.labels)

    def tell_model(self, conditions: Conditions) -> None:
        """Let the model be told these conditions; a resumed one keeps those that it has."""
        model = self.model
        if not isinstance(model, AudioModel):
            name = type(model).__name__
            raise UserError(f"{name} can't be told {conditions.describe()}: leave it out")
        model.condition_on(conditions)
        if not model.conditions:
            log_once(
                logging.WARNING,
                f"the checkpoint was trained without {conditions.describe()}, and goes on without: "
                "to teach it them start a new run with --model.init_from",
            )
        elif new := unseen(conditions, model.conditions):
            log_once(
                logging.WARNING, f"labels that the checkpoint doesn't know count as none: {new}"
            )

    def _without_short(self, tracks: Tracks, what: str) -> Tracks:
        length, seconds = self.window_lengths()
        long = tracks.where(tracks.lengths >= length)
        if len(long) < len(tracks):
            action = "skipped" if self.short == "skip" else self.short_action
            log_once(
                logging.WARNING,
                f"{len(tracks) - len(long)} of {len(tracks)} {what} tracks are shorter than an "
                f"example's {seconds:.2f} s: {action}",
            )
        if self.short == "skip" and tracks and not long:
            raise UserError(
                f"all {what} tracks are shorter than an example's {seconds:.2f} s: give longer "
                "tracks, or short=pad"
            )
        return long if self.short == "skip" else tracks

    def train_dataloader(self) -> DataLoader:
        windows = RandomWindows(self.windows(self.train_tracks), self.windows_per_epoch, self.seed)
        return resumable_loader(
            windows, self.attached_trainer, self.batch_size, self.num_workers, self.seed
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if not self.val_tracks:
            return []
        windows = FixedWindows(self.windows(self.val_tracks, validation=True), self.val_windows)
        return resumable_loader(
            windows, self.attached_trainer, self.batch_size, self.num_workers, shuffle=False
        )

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()
