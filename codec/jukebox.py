"""One level of Jukebox's VQ-VAE as a codec, with this project's weights or OpenAI's."""

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from codec.vqvae import HOPS, SAMPLE_RATE, VQVAE
from foundation.codec import LATENTS, Codec
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from foundation.weights import fingerprint, load_strictly, read_state, under

EMBEDDED = Path(__file__).with_name("embedded.safetensors")


class JukeboxCodec(Codec):
    """Tokens and latents of one level of Jukebox's VQ-VAE, for 44.1 kHz mono.

    Level 2 (coarsest) has 344.5 tokens a second, level 1 has 1378, level 0 has 5512. The stream
    `round_trip` holds this level's tokens of what the next coarser level decodes; level 2 has it
    where another codec is `coarser`. The latents are the tokens' codes, scaled by the mean and
    deviation of all the codebook's entries.

    Args:
        level: 2, 1 or 0
        path: OpenAI's `vqvae.pth.tar`, a checkpoint of `configs/vqvae.yaml`, or a safetensors file
            with the same names; the weights that come with this project if null
        coarser: of level 2, a codec with latents whose round trip it encodes
    """

    def __init__(self, level: int = 2, path: str | None = None, coarser: Codec | None = None):
        super().__init__()
        if level not in range(len(HOPS)):
            raise UserError(f"level must be 0 (finest), 1 or 2 (coarsest), got {level}")
        if coarser is not None and level != 2:
            raise UserError(f"level {level} refines level {level + 1}: only level 2 takes coarser")
        if coarser is not None and coarser.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"coarser must be a codec of {SAMPLE_RATE} Hz, this {type(coarser).__name__} is of "
                f"{coarser.sample_rate} Hz"
            )
        self.level, self.sample_rate, self.hop = level, SAMPLE_RATE, HOPS[level]
        self.vqvae = VQVAE()
        load_weights(self.vqvae, EMBEDDED if path is None else user_path(path, "path"))
        self.codebook_size = self.vqvae.config.codebook_size
        self.latent_dim = self.vqvae.config.emb_width
        self.coarser = coarser
        if coarser is not None:
            self.piece = max(self.piece, coarser.piece)
        alone = level == 2 and coarser is None
        self.stream_names = ("tokens",) if alone else ("tokens", "round_trip")
        self.eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash this level's weights, and those of the coarser level that `round_trip` needs."""
        over = f" over {self.coarser.fingerprint}" if self.coarser else ""
        return fingerprint(
            f"jukebox level {self.level}{over}",
            *(
                self.vqvae.get_submodule(f"{part}.{level}").state_dict()
                for level in range(self.level, min(self.level + 2, len(HOPS)))
                for part in ("encoders", "decoders", "bottleneck.level_blocks")
            ),
        )

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        return self.vqvae.encode(audio, self.level)[:, None]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        return self.vqvae.decode(tokens[:, 0], self.level)

    @torch.no_grad()
    def tokens_to_latents(self, tokens: Tensor) -> Tensor:
        codebook = self.vqvae.codebook(self.level)
        return codebook.normalise(codebook.look_up(tokens[:, 0]))

    @torch.no_grad()
    def latents_to_tokens(self, latents: Tensor) -> Tensor:
        codebook = self.vqvae.codebook(self.level)
        return codebook.quantise(codebook.denormalise(latents))[0][:, None]

    def code_vectors(self) -> Tensor:
        return self.vqvae.codebook(self.level).k[None]

    @property
    def coarser_hop(self) -> int:
        """Samples that a latent of the next coarser level covers; of this one where none is."""
        if self.coarser is not None:
            return self.coarser.hop
        return HOPS[min(self.level + 1, len(HOPS) - 1)]

    @torch.no_grad()
    def round_trip(self, audio: Tensor) -> Tensor:
        """Encode what the next coarser level decodes of audio [B, C, T] to tokens [B, 1, L]."""
        if self.coarser is not None:
            latents = self.coarser.latents_of(audio)
            copy = self.coarser.check_decoded(self.coarser.from_latents(latents), latents)
        else:
            copy = self.vqvae.decode(self.vqvae.encode(audio, self.level + 1), self.level + 1)
        return self.encode(copy)[..., : -(-audio.shape[-1] // self.hop)]

    def reach(self, names: tuple[str, ...]) -> int | None:
        """Return the margin of this level, and of the coarser one's two halves for `round_trip`."""
        margin = self.vqvae.config.margin(self.level)
        if "round_trip" not in names:
            return margin
        hop = self.coarser_hop
        if self.coarser is not None:
            around = self.coarser.reach((LATENTS,))
        else:
            around = 2 * self.vqvae.config.margin(self.level + 1)
        if around is None:
            return None
        return around - -margin // hop * hop

    def encode_streams(self, audio: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        self.check_streams(names)
        return {
            name: self.encode(audio) if name == "tokens" else self.round_trip(audio)
            for name in names
        }


def load_weights(vqvae: VQVAE, path: Path) -> None:
    """Load a file of the VQ-VAE's weights strictly; UserError names what doesn't fit."""
    if not path.is_file():
        raise MissingFileError(
            f"no codec weights at {path}: give the path of OpenAI's vqvae.pth.tar, or none"
        )
    state = read_state(path)
    state = under(state, "vqvae.") or state  # in a checkpoint of VQVAEModule, or a published level
    state = {name: value.float() for name, value in state.items()}
    load_strictly(vqvae, state, f"{path} does not hold this VQ-VAE")
