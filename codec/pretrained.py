"""Pretrained codecs of others, run by transformers and diffusers (the extra `codecs`).

docs/codecs.md has their rates, bits and licences, and the commands.
"""

from math import prod

import torch
from torch import Tensor

from codec.pretrained_base import Pretrained, PretrainedTokens, Residual
from codec.pretrained_files import DIFFUSERS
from foundation.codec import LATENTS
from foundation.errors import UserError


class EnCodec(Residual):
    """EnCodec of 24 kHz, and of 32 kHz as in MusicGen (Defossez et al. 2022, arXiv:2210.13438).

    Mono, 75 or 50 positions a second.
    """

    model_class, kind = "EncodecModel", "encodec"
    formats = {24000: 1, 32000: 1}
    margin_seconds = 2.0  # of its recurrent layers

    def count_codebooks(self) -> int:
        return len(self.model.quantizer.layers)

    def stage_vectors(self) -> Tensor:
        return torch.stack([layer.codebook.embed for layer in self.model.quantizer.layers])

    def quantise(self, latents: Tensor) -> Tensor:
        return self.model.quantizer.encode(latents).transpose(0, 1)[:, : self.num_codebooks]

    def look_up(self, tokens: Tensor) -> Tensor:
        return self.model.quantizer.decode(tokens.transpose(0, 1))


class StereoEnCodec(PretrainedTokens):
    """EnCodec of 48 kHz: stereo, 150 positions a second, each second encoded by itself.

    The model gets every second at the same loudness, as it was trained. The first codebook holds
    the loudness, in steps of 0.1 dB from -102.3 dB (or silence) to 0; the others are the model's.
    """

    model_class, kind = "EncodecModel", "encodec"
    formats = {48000: 2}
    piece_seconds, margin_seconds, margins_encoded = 1.0, 0.02, False
    fewest = 2
    range_db = 102.3

    def count_codebooks(self) -> int:
        return 1 + len(self.model.quantizer.layers)

    def to_codes(self, audio: Tensor) -> Tensor:
        loudness = audio.mean(1).square().mean(-1).clamp(min=1e-12).log10() * 10  # dB, [B]
        steps = (1 + loudness / self.range_db) * (self.codebook_size - 1)
        level = steps.round().long().clamp(0, self.codebook_size - 1)
        codes = self.model.quantizer.encode(self.model.encoder(audio / self._gain(level)))
        tokens = codes.transpose(0, 1)[:, : self.num_codebooks - 1]  # [B, K - 1, L]
        return torch.cat([level[:, None, None].expand(-1, 1, tokens.shape[-1]), tokens], dim=1)

    def to_audio(self, tokens: Tensor) -> Tensor:
        audio = self.model.decoder(self.model.quantizer.decode(tokens[:, 1:].transpose(0, 1)))
        gain = self._gain(tokens[:, 0]).repeat_interleave(self.hop, -1)  # [B, T]
        return audio * gain[:, None, : audio.shape[-1]]

    def _gain(self, level: Tensor) -> Tensor:
        """Return the amplitude of levels [B] or [B, L]; [B, 1, 1] for those of whole pieces."""
        gain = 10 ** ((level / (self.codebook_size - 1) - 1) * self.range_db / 20)
        return gain[:, None, None] if level.dim() == 1 else gain


class DAC(Residual):
    """Descript audio codec of 16, 24 or 44.1 kHz (Kumar et al. 2023, arXiv:2306.06546). Mono."""

    model_class, kind = "DacModel", "dac"
    formats = {16000: 1, 24000: 1, 44100: 1}
    local = True

    def read_format(self) -> tuple[int, int, int]:
        return self.model.config.sampling_rate, 1, prod(self.model.config.downsampling_ratios)

    def count_codebooks(self) -> int:
        return self.model.config.n_codebooks

    def stage_vectors(self) -> Tensor:
        stages = self.model.quantizer.quantizers
        vectors = [stage.out_proj(stage.codebook.weight[..., None])[..., 0] for stage in stages]
        return torch.stack(vectors).detach()

    def quantise(self, latents: Tensor) -> Tensor:
        return self.model.quantizer(latents, self.num_codebooks)[1]

    def look_up(self, tokens: Tensor) -> Tensor:
        return self.model.quantizer.from_codes(tokens)[0]


class Mimi(PretrainedTokens):
    """Mimi, of 24 kHz at 12.5 positions a second (Defossez et al. 2024, arXiv:2410.00037). Mono.

    Made for speech. Its transformers look back 10 s.
    """

    model_class, kind = "MimiModel", "mimi"
    formats = {24000: 1}
    piece_seconds, margin_seconds = 40.0, 10.0

    def read_format(self) -> tuple[int, int, int]:
        config = self.model.config
        rate = config.sampling_rate
        return rate, config.audio_channels, round(rate / config.frame_rate)

    def to_codes(self, audio: Tensor) -> Tensor:
        return self.model.encode(audio, num_quantizers=self.num_codebooks).audio_codes

    def to_audio(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens).audio_values


class XCodec(PretrainedTokens):
    """X-Codec, of 16 kHz at 50 positions a second (Ye et al. 2024, arXiv:2408.17175). Mono.

    Its semantic model attends to a whole piece.
    """

    model_class, kind = "XcodecModel", "xcodec"
    formats = {16000: 1}
    margin_seconds = 2.0

    def read_format(self) -> tuple[int, int, int]:
        return self.model.config.sample_rate, 1, self.model.config.hop_length

    def to_codes(self, audio: Tensor) -> Tensor:
        return self.model.encode(audio).audio_codes[:, : self.num_codebooks]

    def to_audio(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens).audio_values


class Oobleck(Pretrained):
    """Stable Audio's autoencoder: stereo 44.1 kHz, 64 latents 21.5 times a second, no tokens.

    Evans et al. 2024, arXiv:2404.10301. The latents are the means of its posterior, unscaled, for
    they were trained to be near a standard normal law.
    """

    library, subfolder = DIFFUSERS, "vae"
    model_class, kind = "AutoencoderOobleck", "AutoencoderOobleck"
    formats = {44100: 2}
    local = True
    stream_names = (LATENTS,)
    codebook_size = 1  # there are no tokens; headers of stores hold sizes from 1

    def __init__(self, path: str | None = None, hub: str | None = None):
        super().__init__(path, hub)
        self.latent_dim = self.model.config.decoder_input_channels

    def read_format(self) -> tuple[int, int, int]:
        config = self.model.config
        return config.sampling_rate, config.audio_channels, prod(config.downsampling_ratios)

    def encode(self, audio: Tensor) -> Tensor:
        raise UserError("Oobleck has continuous latents alone, no tokens")

    def decode(self, tokens: Tensor) -> Tensor:
        raise UserError("Oobleck has continuous latents alone, no tokens")

    def to_latents(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to latents [B, 64, ceil(T / hop)]."""
        return self._encode(LATENTS, audio)

    def from_latents(self, latents: Tensor) -> Tensor:
        """Decode latents [B, 64, L] to audio [B, 2, L * hop] in [-1, 1]."""
        assert self.latent_dim is not None
        self.check_latents(latents)
        return self._decode(self._to_audio, latents.float())

    def encode_piece(self, stream: str, audio: Tensor) -> Tensor:
        return self.model.encode(audio).latent_dist.mode()

    def _to_audio(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents).sample
