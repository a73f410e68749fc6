"""The spectral codec: music as log magnitudes, 21.5 latents a second, phases found by Griffin-Lim.

A latent holds two frames' magnitudes and no phase, so the same note gives the same latents whenever
it begins: that is what makes them easy to generate. SPECTRAL.md says how the weights were made.
"""

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from audio.griffin_lim import griffin_lim, reach
from codec.spectral_network import SpectralConfig, SpectralNetwork
from codec.spectral_quantiser import PredictiveQuantiser
from foundation.codec import LATENTS, Codec, mono
from foundation.errors import UserError
from foundation.files import user_path
from foundation.pieces import split
from foundation.precision import full_precision
from foundation.weights import fingerprint, load_strictly, read_state, under

EMBEDDED = Path(__file__).with_name("spectral.safetensors")
PIECE = 256  # latents computed at once, 12 s
SEGMENT = 128  # latents quantised one after the other, beside other segments
WARM_UP = (
    24  # latents quantised before a segment's first: what came before them has faded to 0.02 %
)


class SpectralWeights(nn.Module):
    """All that is learned: network, quantiser, and what makes latents normalised."""

    shift: Tensor
    scale: Tensor

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.network = SpectralNetwork(config)
        self.quantiser = PredictiveQuantiser(
            config.num_codebooks, config.codebook_size, config.latent_dim
        )
        self.register_buffer("shift", torch.zeros(config.latent_dim))
        self.register_buffer("scale", torch.ones(config.latent_dim))


class SpectralCodec(Codec):
    """Mono 44.1 kHz; latents normalised to zero mean, and unit variance on average.

    Args:
        path: a file of weights or a checkpoint of `configs/spectral.yaml`; the weights that come
            with this project if null
        num_codebooks: how many of the codebooks tokens have, from the coarsest; all if null
        iterations: of Griffin-Lim; 32 cost a third more time than 24, and 16 a third less
        seed: of the phases that it starts from
        config: sizes of the weights in `path`
    """

    channels = 1
    stream_names = ("tokens", LATENTS)
    piece = 2**22  # many times its reach, which is computed twice

    def __init__(
        self,
        path: str | None = None,
        num_codebooks: int | None = None,
        iterations: int = 24,
        seed: int = 0,
        config: SpectralConfig = SpectralConfig(),  # noqa: B008 (frozen)
    ):
        super().__init__()
        most = config.num_codebooks
        if not 1 <= (num_codebooks or most) <= most:
            raise UserError(f"num_codebooks must be 1 to {most}, got {num_codebooks}")
        if iterations < 0:
            raise UserError(f"iterations must be 0 or more, got {iterations}")
        self.config, self.iterations, self.seed = config, iterations, seed
        self.sample_rate, self.hop = config.sample_rate, config.hop
        self.num_codebooks = num_codebooks or most
        self.codebook_size, self.latent_dim = config.codebook_size, config.latent_dim
        self.weights = SpectralWeights(config)
        load_weights(self.weights, EMBEDDED if path is None else user_path(path, "path"))
        self.eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash the weights and the number of codebooks; not what decoding alone depends on."""
        return fingerprint(f"spectral {self.num_codebooks}", self.weights.state_dict())

    def encode(self, audio: Tensor) -> Tensor:
        return self._quantise(self._analyse(audio))

    def decode(self, tokens: Tensor) -> Tensor:
        return self._synthesise(self._look_up(tokens))

    def to_latents(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to latents [B, D, ceil(T / hop)], which no codebook rounds."""
        return self.normalise(self._analyse(audio))

    def from_latents(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L] as they are to audio [B, 1, L * hop] in [-1, 1]."""
        return self._synthesise(self.denormalise(self._checked(latents)))

    def tokens_to_latents(self, tokens: Tensor) -> Tensor:
        return self.normalise(self._look_up(tokens))

    def latents_to_tokens(self, latents: Tensor) -> Tensor:
        return self._quantise(self.denormalise(self._checked(latents)))

    def code_vectors(self) -> Tensor:
        stages = self.weights.quantiser.codebooks[: self.num_codebooks]
        return torch.stack([stage.k for stage in stages]) / self.weights.scale

    def reach(self, names: tuple[str, ...]) -> int:
        """Return whole pieces, so that those of the whole and of a part begin alike."""
        return PIECE * self.hop

    def _checked(self, latents: Tensor) -> Tensor:
        self.check_latents(latents)
        return latents.float()

    @torch.no_grad()
    def _quantise(self, latents: Tensor) -> Tensor:
        """Quantise latents [B, D, L] of the network, in segments side by side, to [B, K, L].

        A segment's prediction starts from codes of its own for the latents before it, so that where
        two meet, an error as large as the codes' own comes in once, and fades.
        """
        length = latents.shape[-1]
        starts = range(0, max(1, length), SEGMENT)
        begins = [max(0, start - WARM_UP) for start in starts]
        padded = pad(latents, (0, SEGMENT + WARM_UP if len(starts) > 1 else 0))
        size = min(padded.shape[-1], SEGMENT + WARM_UP)
        segments = torch.stack([padded[..., begin : begin + size] for begin in begins], 1)
        with full_precision(latents):
            codes = self.weights.quantiser.encode(segments.flatten(0, 1), self.num_codebooks)
        rows = codes.unflatten(0, (len(latents), len(starts))).unbind(1)
        kept = [
            row[..., start - begin : start - begin + SEGMENT]
            for row, start, begin in zip(rows, starts, begins, strict=True)
        ]
        return torch.cat(kept, -1)[..., :length]

    @torch.no_grad()
    def _look_up(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        return self.weights.quantiser.decode(tokens)

    def normalise(self, latents: Tensor) -> Tensor:
        """Shift and scale latents [B, D, L] of the network."""
        return (latents - self.weights.shift[:, None]) / self.weights.scale[:, None]

    def denormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise` for latents [B, D, L]."""
        return latents * self.weights.scale[:, None] + self.weights.shift[:, None]

    @torch.no_grad()
    def _analyse(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] in pieces to latents [B, D, L], not yet normalised."""
        frames, network = self.config.frames, self.weights.network
        samples = mono(audio)[:, 0].float()
        count = -(-samples.shape[-1] // self.hop)
        missing = count * self.hop - samples.shape[-1]
        padded = pad(samples, (frames.outside, frames.outside + missing))
        parts = []
        for piece in split(count, PIECE, network.encoder_reach):
            begin, end = piece.first * self.hop, piece.last * self.hop + 2 * frames.outside
            with full_precision(samples):
                magnitudes = frames.spectrum(padded[:, begin:end]).abs().mul(4 / frames.size)
                parts.append(network.encode(magnitudes.transpose(1, 2))[..., piece.kept()])
        if not parts:
            return samples.new_zeros(len(samples), self.config.latent_dim, 0)
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def _synthesise(self, latents: Tensor) -> Tensor:
        """Decode latents [B, D, L], not normalised, in pieces to audio [B, 1, L * hop]."""
        frames, network = self.config.frames, self.weights.network
        margin = -(-reach(frames, self.iterations) // 2) + network.decoder_reach
        parts = [latents.new_zeros(len(latents), 0)]
        for piece in split(latents.shape[-1], PIECE, margin):
            with full_precision(latents):
                magnitudes = network.decode(latents[..., piece.taken])
                audio = griffin_lim(
                    magnitudes, frames, self.iterations, seed=self.seed, first=2 * piece.first
                )
            kept = piece.kept()
            parts.append(audio[:, kept.start * self.hop : kept.stop * self.hop])
        return torch.cat(parts, dim=-1).clamp(-1, 1)[:, None]


def load_weights(weights: SpectralWeights, path: Path) -> None:
    """Load a file of the codec's weights, or a checkpoint of its training, strictly."""
    state = read_state(path)
    state = under(state, "weights.") or state  # a checkpoint of SpectralModule
    state = {name: value.float() for name, value in state.items()}
    load_strictly(weights, state, f"{path} does not hold this spectral codec")
