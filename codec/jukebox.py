"""One level of Jukebox's VQ-VAE as a codec, with our own weights or OpenAI's."""

import hashlib
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from codec.vqvae import HOPS, SAMPLE_RATE, VQVAE
from foundation.codec import Codec
from foundation.weights import mismatch, read_state, under

EMBEDDED = Path(__file__).with_name("embedded.safetensors")


class JukeboxCodec(Codec):
    """Tokens of one level: 2 (coarsest, 344.5 tokens a second), 1 (1378) or 0 (5512).

    Without a `path` it runs the weights that come with this project; `path` may be OpenAI's
    `vqvae.pth.tar`, a checkpoint of `configs/vqvae.yaml`, or a safetensors file of the same names.
    The stream `round_trip` holds this level's tokens of what the next coarser level decodes.
    """

    def __init__(self, level: int = 2, path: str | None = None):
        super().__init__()
        if level not in range(len(HOPS)):
            raise ValueError(f"level must be 0 (finest), 1 or 2 (coarsest), got {level}")
        self.level, self.sample_rate, self.hop = level, SAMPLE_RATE, HOPS[level]
        self.vqvae = VQVAE()
        load_weights(self.vqvae, Path(path).expanduser() if path else EMBEDDED)
        self.codebook_size = self.vqvae.config.codebook_size
        self.stream_names = ("tokens",) if level == 2 else ("tokens", "round_trip")
        self.eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash the level's weights, and those of the level below that a round trip reads."""
        digest = hashlib.sha256(f"jukebox level {self.level}".encode())
        for level in range(self.level, min(self.level + 2, len(HOPS))):
            for part in ("encoders", "decoders", "bottleneck.level_blocks"):
                module = self.vqvae.get_submodule(f"{part}.{level}")
                for name, value in sorted(module.state_dict().items()):
                    digest.update(name.encode())
                    digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        return self.vqvae.encode(audio, self.level)[:, None]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        return self.vqvae.decode(tokens[:, 0], self.level)

    def round_trip(self, audio: Tensor) -> Tensor:
        """Encode what the next coarser level decodes of audio [B, C, T]: this level's tokens."""
        coarser = self.vqvae.decode(self.vqvae.encode(audio, self.level + 1), self.level + 1)
        return self.encode(coarser)[..., : -(-audio.shape[-1] // self.hop)]

    def encode_streams(self, audio: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        self.check_streams(names)
        with torch.no_grad():
            return {
                name: self.encode(audio) if name == "tokens" else self.round_trip(audio)
                for name in names
            }


def load_weights(vqvae: VQVAE, path: Path) -> None:
    """Load a file of the VQ-VAE's weights, strictly; ValueError names what does not fit."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no codec weights at {path}: the path is that of OpenAI's vqvae.pth.tar, or left out"
        )
    state = read_state(path)
    state = under(state, "vqvae.") or state  # a checkpoint of VQVAEModule, or a published level
    if problem := mismatch(vqvae.state_dict(), state):
        raise ValueError(f"{path} does not hold this VQ-VAE: {problem}")
    vqvae.load_state_dict({name: value.float() for name, value in state.items()})
