"""Windows of stored tokens or latents, as the model asks for them."""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from datamodules.encode import EncodingJob, TrackReader, default_store
from datamodules.estimate import Estimate
from datamodules.features import Described, Features
from datamodules.header import Header
from datamodules.messages import log_once
from datamodules.metadata import Sidecar
from datamodules.music_data import MusicDataModule
from datamodules.remote_files import is_address
from datamodules.remote_store import RemoteStore
from datamodules.token_store import TokenStore, read_header
from datamodules.tracks import Track, Tracks, TrackSource, split
from datamodules.windows import Windows
from foundation.audio_module import AudioModel
from foundation.checks import check_not_empty
from foundation.codec import Codec
from foundation.conditions import Conditions
from foundation.errors import UserError
from foundation.files import user_path
from foundation.program import program
from foundation.windows import TokenWindow

BLOCK = 4096  # names that are read at once


class StoredTracks(TrackSource):
    """The tracks of a store; fields of a sidecar file replace those that are stored."""

    def __init__(self, store: TokenStore, sidecar: Sidecar):
        self.store, self.sidecar = store, sidecar

    @property
    def lengths(self) -> np.ndarray:
        return self.store.index.track_lengths

    def names(self) -> Iterator[bytes]:
        names = self.store.index.names
        for first in range(0, len(names), BLOCK):
            yield from names.raw(first, min(first + BLOCK, len(names)))

    def track(self, row: int, start: int, stop: int) -> Track:
        track, key = self.store.track(row), self.store.index.keys[row]
        cond = self.sidecar.cond(track.source) if self.sidecar.fields else {}
        path = Path(key.tobytes().hex())
        return Track(path, track.source, start, stop, track.cond | cond, row)


class TokenWindows(Windows):
    """Windows of a store: each stream of the window [K, L] or [D, L], and "context" of the first.

    `silence` [K, Lc] or [D, Lc] is the context before a track's start.
    """

    def __init__(
        self,
        tracks: Tracks,
        window: TokenWindow,
        store: TokenStore,
        silence: Tensor,
        described: Described | None = None,
    ):
        super().__init__(tracks, window.length)
        self.window, self.store, self.silence = window, store, silence
        self.described = described

    def cond(self, track: Track, start: int) -> dict[str, str | Tensor]:
        """Return the track's metadata, and the window's tags, tempo and key if they're asked."""
        known = super().cond(track, start)
        if self.described is None:
            return known
        return known | self.described.cond(track.path.name, start, start + self.window.length)

    def cut(self, track: Track, start: int, draw: random.Random | None = None) -> dict[str, Tensor]:
        window, row = self.window, track.row
        example = {}
        for name, stream in window.streams.items():
            length = min(window.length, track.stop - start)
            tokens = self.store.read(row, stream, start, length)
            copies = -(-window.length // tokens.shape[1])  # more than 1 for a short track
            example[name] = tokens.repeat(1, copies)[:, : window.length]
        if window.context:
            first, length = max(0, start - window.context), min(start, window.context)
            context = self.store.read(row, window.context_stream, first, length)
            missing = window.context - context.shape[1]
            example["context"] = torch.cat([self.silence[:, :missing], context], dim=1)
        return example


class TokenDataModule(MusicDataModule):
    """Load {"tokens": [B, K, L], ..., "cond": {name: B values}} from a token store.

    A model of latents gets {"latents": [B, D, L], ...}.

    The model's `token_window` (a TokenWindow) sets streams and lengths. Without a store in
    `tokens`, the music in `audio` is encoded first, by one process, into the cache. The next run
    uses these tokens again; it encodes new and changed files and deletes the tokens of others.

    Args:
        audio: a folder of music, searched with all its folders, or one file; demo music if null
        tokens: a token store that `encode` made, instead of audio: a folder, or an address
            (s3://BUCKET/STORE, gs://, any of fsspec's), copied into the cache as it is read
        batch_size: windows in a batch of one process
        num_workers: processes that read windows, for each process that trains
        val_fraction: share of the tracks that is kept for validation, chosen by their names
        short: what to do with tracks shorter than a window: pad repeats them, skip leaves them out
        windows_per_epoch: random windows an epoch; as many as cover the tracks once if null
        val_windows: fixed windows to validate on at most; all if null
        seed: of the split, the order and the windows
        sidecar: a .csv or .jsonl file with metadata of the tracks, named in its column `track`
        licence: of the music, written into checkpoints, such as cc-by-4.0
        too_loud: what to do with a file of floats beyond 8, where full scale is 1: skip it, clip it
            to 1, or scale it, by the full scale of integers or by its peak
        labels: metadata that the model is told: folder, a column of the sidecar, or several,
            '[folder, mood]'
        encode_hours: stop where encoding the music would take longer, by estimate, and say how to
            do it first, by several devices or machines; null encodes however long it takes
        tags: let the model be told tags, tempo and key, which `encode --tags true` found
        global_batch: windows in an optimizer's step, of all processes together, which then sets
            accumulate_grad_batches; val_check_interval in batches stays the same in steps
    """

    short_action = "repeated"

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
        sidecar: str | None = None,
        licence: str | None = None,
        too_loud: Literal["skip", "clip", "scale"] = "skip",
        labels: list[str] | str | None = None,
        encode_hours: float | None = 1.0,
        tags: bool = False,
        global_batch: int | None = None,
    ):
        check_not_empty(tokens=tokens)
        self.remote = RemoteStore.at(tokens) if tokens and is_address(tokens) else None
        if self.remote and tags:
            raise UserError(f"tags aren't read from {tokens}: copy the store to this machine")
        super().__init__(
            audio,
            sidecar,
            batch_size,
            num_workers,
            val_fraction,
            short,
            windows_per_epoch,
            val_windows,
            seed,
            licence,
            too_loud,
            labels,
            global_batch,
        )
        self.tokens, self.encode_hours, self.tags = tokens, encode_hours, tags
        self.features: Features | None = None

    @property
    def codec(self) -> Codec:
        codec = getattr(self.model, "codec", None)
        if not isinstance(codec, Codec):
            raise UserError(f"{type(self.model).__name__} has no codec to encode audio with")
        return codec

    @property
    def window(self) -> TokenWindow:
        window = getattr(self.model, "token_window", None)
        if not isinstance(window, TokenWindow):
            raise UserError(
                f"{type(self.model).__name__} reads audio, not tokens: give "
                "--data datamodules.wav.WavDataModule"
            )
        return window

    @property
    def stream_names(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.window.streams.values())))

    def window_lengths(self) -> tuple[int, float]:
        window, codec = self.window, self.codec
        return window.length, window.in_samples(codec.sample_rate, codec.hop).seconds

    def encoding_job(self) -> EncodingJob:
        return EncodingJob.create(
            self.music_folder(),
            self.codec,
            self.stream_names,
            sidecar=self.sidecar,
            too_loud=self.too_loud,
        )

    def source(self) -> Path:
        return self.store_folder() if self.tokens else super().source()

    def make_music(self) -> None:
        """Encode the files that have no tokens yet, or copy the index of a store at an address."""
        if self.remote:
            self.remote.fetch()
        if self.tokens:
            return
        super().make_music()
        job = self.encoding_job()
        with job.alone():
            self._encode(job)
            store = job.finish()
        assert store is not None, "a job of all files is done when it ends"
        log_once(logging.INFO, f"{len(store)} tracks of tokens in {store.folder}")

    def _encode(self, job: EncodingJob) -> None:
        codec = self.codec
        if todo := job.todo():
            codec.to(self.attached_trainer.strategy.root_device)
            reader = TrackReader(todo, codec, self.too_loud)
            work = Estimate(todo)
            for index in tqdm(range(len(reader)), desc="encoding", unit="track", disable=None):
                path, num_samples = reader[index]
                job.encode(codec, Path(path), num_samples)
                self._check_hours(work.hours_left(index + 1), len(todo) - index - 1)

    def _check_hours(self, hours: float, tracks: int) -> None:
        """Raise UserError where encoding goes on for longer than `encode_hours`."""
        if self.encode_hours is not None and hours > self.encode_hours:
            name = f"{type(self.codec).__module__}.{type(self.codec).__qualname__}"
            streams = f" --streams '[{', '.join(self.stream_names)}]'"
            raise UserError(
                f"encoding {tracks} more tracks would take about {hours:.1f} hours here: do it "
                f"first, with {program()} encode {super().source()} --codec {name}{streams} and "
                "the codec's options of this run, by several --devices or as --shard I/N on "
                "several machines; or go on with --data.encode_hours null. What is encoded is kept"
            )

    def find_tracks(self) -> None:
        """Open the store; UserError if it is empty or of another codec."""
        folder = self.store_folder()
        read_header(folder).check(Header.of(self.codec, self.stream_names), folder)
        self.store = self.remote.open() if self.remote else TokenStore.open(folder)
        self.features = Features.open(folder) if self.tags else None
        source = StoredTracks(self.store, self.sidecar)
        self.use_tracks(*split(Tracks.whole(source), self.val_fraction, self.seed))

    def conditions(self) -> Conditions:
        labels = super().conditions()
        if self.features is None:
            return labels
        keys = [track.path.name for track in self.train_tracks]
        return labels.joined(self.features.conditions(keys))

    def store_folder(self) -> Path:
        """Return the folder of the tokens: what was given, or where `make_music` puts them."""
        if self.remote:
            return self.remote.folder
        if self.tokens:
            return user_path(self.tokens, "tokens")
        return default_store(super().source(), self.codec, self.stream_names)

    def windows(self, tracks: Tracks, validation: bool = False) -> TokenWindows:
        codec, stream = self.codec, self.window.context_stream
        silence = torch.empty(0, 0)
        if self.window.context:
            samples = torch.zeros(1, codec.channels, self.window.context * codec.hop)
            device = next(codec.parameters(), samples).device
            silence = codec.encode_streams(samples.to(device), (stream,))[stream][0].cpu()
        described = None
        if self.features is not None and isinstance(self.model, AudioModel):
            tags = tuple(self.model.conditions.tags)
            described = Described(self.features, tags, codec.hop / codec.sample_rate)
        return TokenWindows(tracks, self.window, self.store, silence, described)
