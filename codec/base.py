"""What every neural audio codec here offers, and the window a model asks the data module to cut."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Window:
    """The passage a model trains on; the data module asks `trainer.lightning_module.window` for it.

    All lengths are in audio samples at `sample_rate`; a token data module divides them by the
    stream's hop. `streams` maps batch keys to the names of the token streams a model reads. Crops
    of audio to validate on are `val_length` long where it is given.
    """

    sample_rate: int
    length: int
    context: int = 0
    align: int = 1  # a passage starts at a multiple of this
    channels: int = 1
    streams: dict[str, str] = field(default_factory=lambda: {"tokens": "tokens"})
    val_length: int | None = None

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"an example needs a positive length, got {self.length} samples")
        if self.length % self.align or self.context % self.align:
            raise ValueError(
                f"a window's length and context must be multiples of {self.align} samples, "
                f"got length {self.length} and context {self.context}"
            )


class Codec(nn.Module, ABC):
    """Turn audio into tokens and back.

    `sample_rate` is in Hz, `hop` in samples a token; `codebook_size` counts the tokens, and
    `fingerprint` is a hash of weights and settings: tokens are only ever read with the codec that
    made them.
    """

    sample_rate: int
    hop: int
    codebook_size: int
    stream_names: tuple[str, ...] = ("tokens",)

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @abstractmethod
    def encode(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] at `sample_rate`, mixed to mono, to tokens [B, ceil(T / hop)]."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] to audio [B, 1, L * hop] in [-1, 1]."""

    def encode_streams(self, audio: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Encode audio [B, C, T] to each named stream of tokens [B, L]."""
        unknown = sorted(set(names) - set(self.stream_names))
        if unknown:
            raise ValueError(f"this codec has streams {self.stream_names}, not {unknown}")
        return {name: self.encode(audio) for name in names}


class Frozen(nn.Module):
    """Hold a pretrained module that moves with its owner but isn't trained, averaged or saved."""

    def __init__(self, module: nn.Module):
        super().__init__()
        object.__setattr__(self, "module", module.eval().requires_grad_(False))  # not registered

    def _apply(
        self, fn, recurse: bool = True
    ) -> "Frozen":  # the road taken by .to() and the Trainer
        self.module._apply(fn)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> "Frozen":
        return self  # weight averaging copies the owner; the codec stays one


def mismatch(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], shown: int = 3) -> str:
    """Say what of a state dict is missing, unknown or of another shape; nothing if it fits."""
    shapes = [
        f"{name} {list(state[name].shape)} for {list(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unknown": sorted(state.keys() - wanted.keys()),
        "of another shape": shapes,
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:shown])}{', …' if len(names) > shown else ''})"
        for what, names in problems.items()
        if names
    )


def check_checkpoint(module: nn.Module, codec: Codec, checkpoint: Mapping) -> None:
    """Refuse another model's weights, and another codec's tokens, with a ValueError."""
    if problem := mismatch(module.state_dict(), checkpoint["state_dict"]):
        raise ValueError(
            f"the checkpoint holds another model than this one: {problem}; give the --config files "
            "and options that it was made with"
        )
    made, ours = checkpoint.get("codec_fingerprint"), codec.fingerprint
    if made != ours:
        raise ValueError(
            f"the checkpoint was trained on codec {made}, this one is {ours}: give the codec and "
            "the level that it was made with"
        )


def full_precision(x: Tensor) -> torch.autocast:
    """Keep a model's mixed precision out of its codec: in bfloat16 codes flip."""
    return torch.autocast(x.device.type, enabled=False)


def mono(audio: Tensor) -> Tensor:
    """Mix audio [B, C, T] down to [B, 1, T]."""
    if audio.dim() != 3:
        raise ValueError(f"audio must be [batch, channels, samples], got {list(audio.shape)}")
    return audio.mean(dim=1, keepdim=True)
