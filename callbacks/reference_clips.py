"""The real music that a model's clips are compared with."""

from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from audio import files as audio
from audio.segments import spread_segments
from foundation.codec import Codec
from foundation.files import user_path


def validation_files(trainer: Trainer) -> list[Path]:
    """List the data module's validation tracks whose audio files exist."""
    data = getattr(trainer, "datamodule", None)
    tracks = getattr(data, "val_tracks", None) or []
    root = user_path(getattr(data, "audio", None) or ".", "audio")
    if root == Path(".") and (source := getattr(data, "source", None)):  # the demo music
        root = source()
    suffixes = audio.AUDIO_SUFFIXES
    paths = [path for track in tracks for path in (track.path, root / track.name)]
    return sorted({p for p in paths if p.suffix.lower() in suffixes and p.is_file()})


def references(
    trainer: Trainer, codec: Codec, num_samples: int, count: int, device: torch.device
) -> dict[str, Tensor]:
    """Return validation music as it is and after the codec: [B, 1, T] each; {} without its files.

    Files shorter than `num_samples` are left out, so that all clips have one length.
    """
    files, rate = validation_files(trainer), codec.sample_rate
    if not files:
        return {}
    found = spread_segments(files, rate, num_samples, count, range(count))
    segments = [one.samples for one in found if one.samples.shape[-1] == num_samples]
    rendered = [decoded(codec, segment.to(device)) for segment in segments]
    if not segments:
        return {}
    return {"original": torch.stack(segments), "round_trip": torch.cat(rendered)}


def decoded(codec: Codec, segment: Tensor) -> Tensor:
    """Return a segment [C, T] as the codec renders it, [1, C, T]."""
    tokens = codec.encode(segment[None])
    return codec.check_decoded(codec.decode(tokens), tokens)[..., : segment.shape[-1]]
