"""Windows of stored tokens, at random offsets within tracks."""

import logging
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from datamodules.data_order import check_settings, train_loader, val_loader
from datamodules.demo_music import demo_music_folder, write_demo_music
from datamodules.encode import Job, Tracks
from datamodules.tokens import Header, TokenStore, window_of
from datamodules.tracks import Track, drop_short, say, split
from datamodules.wav import FixedCrops, RandomCrops, Slots
from foundation.codec import Codec
from foundation.errors import UserError
from foundation.windows import TokenWindow


class TokenSlots(Slots):
    """Cut windows of tokens [K, L]; `silence` [K, Lc] is the context before a track's start."""

    def __init__(
        self,
        tracks: list[Track],
        window: TokenWindow,
        store: TokenStore,
        silence: Tensor,
    ):
        super().__init__(tracks, window)
        self.store, self.silence = store, silence

    def cut(self, track: Track, start: int) -> dict[str, Tensor]:
        window = self.window
        example = {}
        for key, stream in window.streams.items():
            array = self.store.array(track.path.name, stream)
            tokens = window_of(array, start, min(window.length, track.stop - start))
            # a track shorter than a window is repeated
            copies = -(-window.length // tokens.shape[1])
            example[key] = tokens.repeat(1, copies)[:, : window.length]
        if window.context:
            array = self.store.array(track.path.name, window.streams["tokens"])
            before = window_of(array, max(0, start - window.context), min(start, window.context))
            missing = window.context - before.shape[1]
            example["context"] = torch.cat([self.silence[:, :missing], before], dim=1)
        return example

    def example(self, samples: dict[str, Tensor]) -> dict[str, Tensor]:
        return samples


def unchanged(tokens: dict[str, Tensor], draw: object) -> dict[str, Tensor]:
    """Leave tokens as they are, where audio would be augmented."""
    return tokens


class TokenDataModule(LightningDataModule):
    """Deliver {"tokens": [B, K, L], …}: the streams and context that `module.token_window` names.

    `tokens` is a store that `encode` made. Without one, the music in `audio` (demo music if None)
    is encoded first, on one process, and the result is used again the next time; changed and new
    files are encoded, and those that are gone are dropped.

    Args:
        audio: a folder of music, searched with all its folders, or one file; demo music if null
        tokens: a token store that `encode` made, instead of audio
        batch_size: passages a process takes at once
        num_workers: processes that read passages, for each process that trains
        val_fraction: share of the tracks that is kept for validation, by their names
        short: what happens to tracks shorter than a passage: pad repeats them, skip leaves them out
        windows_per_epoch: passages an epoch; as many as cover the tracks once if null
        val_windows: passages to validate on at most; all if null
        seed: of the split and of the order
    """

    def __init__(
        self,
        audio: str | None = None,
        tokens: str | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        short: str = "pad",
        windows_per_epoch: int | None = None,
        val_windows: int | None = 64,
        seed: int = 0,
    ):
        super().__init__()
        check_settings(batch_size, num_workers, val_fraction, short)
        self.audio, self.tokens = audio, tokens
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.val_fraction, self.short = val_fraction, short
        self.windows_per_epoch, self.val_windows = windows_per_epoch, val_windows

    @property
    def codec(self) -> Codec:
        return self.trainer.lightning_module.codec

    @property
    def window(self) -> TokenWindow:
        module = self.trainer.lightning_module
        window = getattr(module, "token_window", None)
        if window is None:
            raise UserError(
                f"{type(module).__name__} reads audio, not tokens: give "
                "--data datamodules.wav.WavDataModule"
            )
        return window

    @property
    def streams(self) -> dict[str, str]:
        return self.window.streams

    def job(self) -> Job:
        names = tuple(sorted(set(self.streams.values())))
        return Job.of(self.audio or demo_music_folder(), self.codec, names, None)

    def prepare_data(self) -> None:
        """Encode what has no tokens yet."""
        if self.tokens:
            return
        if self.audio is None:
            say(logging.INFO, f"no audio folder given: using demo music in {demo_music_folder()}")
            write_demo_music(demo_music_folder())
        job, codec = self.job(), self.codec
        if todo := job.todo:
            codec.to(self.trainer.strategy.root_device)
            tracks = Tracks(todo, codec.sample_rate)
            for path, samples in tqdm(tracks, desc="encoding", unit="track", total=len(tracks)):
                job.encode(codec, Path(path), samples)
        job.finish()
        say(logging.INFO, f"{len(job.store.keys())} tracks of tokens in {job.store.folder}")

    def setup(self, stage: str | None = None) -> None:
        names = tuple(sorted(set(self.streams.values())))
        if self.tokens:
            self.store = TokenStore.open(Path(self.tokens).expanduser())
            self.store.check(Header.of(self.codec, names))
        else:
            self.store = self.job().store
        tracks = [
            Track(Path(key), self.store.source(key), 0, self.store.length(key))
            for key in self.store.keys()
        ]
        if not tracks:
            raise ValueError(f"the token store {self.store.folder} holds no tracks: encode again")
        train, validation = split(tracks, self.val_fraction, self.seed)
        self.train_tracks = self._drop_short(train, "training")
        self.val_tracks = validation
        if validation:
            self.val_tracks = self._drop_short(validation, "validation")

    def _drop_short(self, tracks: list[Track], what: str) -> list[Track]:
        length, codec = self.window.length, self.codec
        seconds = length * codec.hop / codec.sample_rate
        return drop_short(tracks, length, seconds, self.short, what, "repeated")

    def slots(self, tracks: list[Track]) -> TokenSlots:
        silence = torch.zeros(self.codec.num_codebooks, 0, dtype=torch.long)
        if self.window.context:
            quiet = torch.zeros(1, 1, self.window.context * self.codec.hop)
            device = next(self.codec.parameters()).device
            silence = self.codec.encode(quiet.to(device))[0].cpu()
        return TokenSlots(tracks, self.window, self.store, silence)

    def train_dataloader(self) -> DataLoader:
        windows = RandomCrops(
            self.slots(self.train_tracks), self.windows_per_epoch, self.seed, unchanged
        )
        return train_loader(windows, self.trainer, self.batch_size, self.num_workers, self.seed)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        if not self.val_tracks:
            return []
        windows = FixedCrops(self.slots(self.val_tracks), self.val_windows)
        return val_loader(windows, self.trainer, self.batch_size, self.num_workers)

    def test_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader | list[DataLoader]:
        return self.val_dataloader()
