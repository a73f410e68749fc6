"""WavTokenizer, one codebook of 4096 tokens for 24 kHz audio (Ji et al. 2024, arXiv:2408.16532)."""

import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.wavtokenizer_decoder import BANDWIDTHS, Backbone, Head
from codec.wavtokenizer_encoder import DIM, MARGIN, PIECE, Encoder
from foundation.codec import Codec, mono
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from foundation.pieces import Read, ahead, pieces
from foundation.precision import full_precision
from foundation.program import download_command
from foundation.weights import fingerprint, mismatch, read_state, write_state

SAMPLE_RATE, CODEBOOK = 24000, 4096
RATIOS = {320: (2, 4, 5, 8), 600: (4, 5, 5, 6)}  # 75 and 40 tokens a second
CODES = "feature_extractor.encodec.quantizer.vq.layers.0._codebook"
# weights of the published files that only training used
DROPPED = (
    "multiperioddisc.",
    "multiresddisc.",
    "dac.",
    "dacdiscriminator.",
    "melspec_loss.",
    "feature_extractor.encodec.decoder.",  # EnCodec's decoder, replaced by Vocos
    f"{CODES}.cluster_size",
    f"{CODES}.embed_avg",
)
# Frames at a piece's ends that are dropped: the convolutions see about 50 to each side
TRIM, FADE = 64, 32


class Codebook(nn.Module):
    embed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("embed", torch.randn(CODEBOOK, DIM))

    def distances(self, x: Tensor) -> Tensor:
        """Squared distances [B, L, 4096] of x [B, 512, L] to the rows, without the term |x|^2."""
        return self.embed.square().sum(1) - 2 * (x.transpose(1, 2) @ self.embed.T)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Features [B, 512, L] of tokens [B, L]."""
        return self.embed[tokens].transpose(1, 2)


class Network(nn.Module):
    """The modules that inference uses, under the published names."""

    def __init__(self, hop: int, bandwidth_id: int = 0):
        super().__init__()
        levels = nn.ModuleList([nn.ModuleDict({"_codebook": Codebook()})])
        vq = nn.ModuleDict({"vq": nn.ModuleDict({"layers": levels})})
        encodec = nn.ModuleDict({"encoder": Encoder(RATIOS[hop]), "quantizer": vq})
        self.feature_extractor = nn.ModuleDict({"encodec": encodec})
        self.backbone = Backbone(bandwidth_id)
        self.head = Head(hop)

    @property
    def encoder(self) -> Encoder:
        encoder = self.get_submodule("feature_extractor.encodec.encoder")
        assert isinstance(encoder, Encoder)
        return encoder

    @property
    def codebook(self) -> Codebook:
        codebook = self.get_submodule(CODES)
        assert isinstance(codebook, Codebook)
        return codebook

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] in one piece to audio [B, 1, L * hop]."""
        return self.head(self.backbone(self.codebook.look_up(tokens)))


class WavTokenizer(Codec):
    """Tokens of 24 kHz mono, 75 or 40 a second depending on the weights.

    Audio of any length is encoded in pieces to the tokens of the whole. Decoding isn't local: an
    attention block and group norms see the whole input, which lasted 3 seconds in training. Longer
    input is decoded in pieces that are trimmed and crossfaded.

    Args:
        path: a published checkpoint, or the smaller safetensors file that
            `python -m codec.wavtokenizer CHECKPOINT OUT.safetensors` writes
        piece_seconds: length of the pieces; null decodes everything in one, as the original does
        bandwidth_id: row of the decoder's adaptive norms, 0 to 3, as in the original's `decode`
    """

    sample_rate = SAMPLE_RATE
    codebook_size = CODEBOOK

    def __init__(self, path: str, piece_seconds: float | None = 30.0, bandwidth_id: int = 0):
        super().__init__()
        if bandwidth_id not in range(BANDWIDTHS):
            raise UserError(f"bandwidth_id must be 0 to {BANDWIDTHS - 1}, got {bandwidth_id}")
        self.net = build(used(read(path)), path, bandwidth_id)
        self.hop, self.bandwidth_id = self.net.encoder.hop, bandwidth_id
        self.frames_at_once = (
            None if piece_seconds is None else round(piece_seconds * SAMPLE_RATE / self.hop)
        )
        if self.frames_at_once is not None and self.frames_at_once < 4 * TRIM:
            shortest = 4 * TRIM * self.hop / SAMPLE_RATE
            raise UserError(f"piece_seconds must be at least {shortest:g}, got {piece_seconds}")
        self.eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash all weights, and `bandwidth_id` where it isn't 0 (older token stores stay valid)."""
        label = f"wavtokenizer {self.hop}"
        if self.bandwidth_id:
            label += f" bandwidth {self.bandwidth_id}"
        return fingerprint(label, self.net.state_dict())

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        if not audio.shape[-1]:
            return torch.zeros(len(audio), 1, 0, dtype=torch.long, device=audio.device)
        with full_precision(audio):
            return self._nearest(
                self.net.encoder.in_pieces(mono(audio).to(self.net.codebook.embed.dtype))
            )

    def _nearest(self, frames: Tensor) -> Tensor:
        """Round the encoder's frames [B, 512, L] to tokens [B, 1, L]."""
        parts = frames.split(1024, dim=-1)  # the distances to all rows are large
        tokens = [self.net.codebook.distances(x).argmin(-1) for x in parts]
        return torch.cat(tokens, dim=-1)[:, None]

    @torch.no_grad()
    def encode_in_pieces(
        self, read: Read, num_samples: int, names: tuple[str, ...]
    ) -> Iterator[dict[str, Tensor]]:
        """Encode as `Codec.encode_in_pieces` says; the LSTMs carry all that came before."""
        self.check_streams(names)
        encoder, like = self.net.encoder, self.net.codebook.embed

        def local() -> Iterator[Tensor]:
            parts = pieces(num_samples, PIECE * self.hop, MARGIN * self.hop)
            for part, audio in ahead(lambda part: read(part.first, part.last), parts):
                frames = encoder.local_frames(mono(audio[None]).to(like))
                yield frames[..., part.kept(self.hop)]

        with full_precision(like):
            for frames in encoder.in_stream(local()):
                tokens = self._nearest(frames)
                yield {name: tokens for name in names}

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        if not tokens.shape[-1]:
            return self.net.head.istft.window.new_zeros(len(tokens), 1, 0)
        self.check_tokens(tokens)
        tokens = tokens[:, 0]
        with full_precision(tokens):
            if self.frames_at_once is None or tokens.shape[1] <= self.frames_at_once:
                return self.net.decode(tokens).clamp(-1, 1)
            return self._decode_pieces(tokens, self.frames_at_once).clamp(-1, 1)

    def code_vectors(self) -> Tensor:
        return self.net.codebook.embed[None]

    def _decode_pieces(self, tokens: Tensor, piece: int) -> Tensor:
        """Decode tokens [B, L] in pieces of equal length; each replaces the previous one's end."""
        hop, total = self.hop, tokens.shape[1]
        step = piece - 2 * TRIM - FADE
        starts = [*range(0, total - piece, step), total - piece]
        whole = self.net.head.istft.window.new_empty(len(tokens), 1, total * hop)
        for start in starts:
            new = self.net.decode(tokens[:, start : start + piece])
            target = whole[..., start * hop : (start + piece) * hop]
            if start:
                weight = torch.linspace(0, 1, FADE * hop, device=new.device)
                fade = slice(TRIM * hop, (TRIM + FADE) * hop)
                new[..., fade] = target[..., fade].lerp(new[..., fade], weight)
                target, new = target[..., TRIM * hop :], new[..., TRIM * hop :]
            target.copy_(new)
        return whole


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights; MissingFileError says how to get it."""
    path = user_path(path, "path")
    if not path.is_file():
        raise MissingFileError(
            f"no WavTokenizer weights at {path}: get them with {download_command()} wavtokenizer"
        )
    return read_state(path)


def used(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the published weights that only training used."""
    return {name: value for name, value in state.items() if not name.startswith(DROPPED)}


def build(state: dict[str, Tensor], path: str | Path, bandwidth_id: int = 0) -> Network:
    """Build the network of a state dict strictly; UserError names what doesn't fit."""
    window = state.get("head.istft.window")
    hop = 320 if window is None else len(window) // 4
    with torch.device("meta"):
        net = Network(hop if hop in RATIOS else 320, bandwidth_id)
    if problem := mismatch(net.state_dict(), state):
        raise UserError(f"{path} does not hold WavTokenizer at hop 320 or 600: {problem}")
    if (inited := float(state[f"{CODES}.inited"])) != 1:
        raise UserError(
            f"{path} holds a codebook that was never trained: {CODES}.inited is {inited}, not 1"
        )
    net.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return net


def shrink(path: str | Path, out: str | Path) -> None:
    """Write the weights that inference uses as safetensors."""
    state, out = used(read(path)), Path(out)
    build(state, path)
    write_state(state, out)


def main(args: list[str]) -> int:
    if len(args) != 2:
        print("usage: python -m codec.wavtokenizer CHECKPOINT OUT.safetensors", file=sys.stderr)
        return 2
    try:
        shrink(*args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args[1]}: {Path(args[1]).stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
