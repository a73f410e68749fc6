"""WavTokenizer, one codebook of 4096 tokens for 24 kHz audio (Ji et al. 2024, arXiv:2408.16532)."""

import hashlib
import sys
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.wavtokenizer_decoder import Backbone, Head
from codec.wavtokenizer_encoder import DIM, Encoder
from foundation.codec import Codec, full_precision, mono
from foundation.weights import mismatch, read_state, write_state

SAMPLE_RATE, CODEBOOK = 24000, 4096
RATIOS = {320: (2, 4, 5, 8), 600: (4, 5, 5, 6)}  # 75 and 40 tokens a second
CODES = "feature_extractor.encodec.quantizer.vq.layers.0._codebook"
# what the published files hold beside what inference uses
DROPPED = (
    "multiperioddisc.",
    "multiresddisc.",
    "dac.",
    "dacdiscriminator.",
    "melspec_loss.",
    "feature_extractor.encodec.decoder.",  # EnCodec's decoder; Vocos took its place
    f"{CODES}.cluster_size",
    f"{CODES}.embed_avg",
)
# Frames of a piece's ends that are not used: the convolutions reach some 50 to each side
TRIM, FADE = 64, 32


class Codebook(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inited", torch.ones(1))
        self.register_buffer("embed", torch.randn(CODEBOOK, DIM))

    def distances(self, x: Tensor) -> Tensor:
        """Squared distances [B, L, 4096] of x [B, 512, L] to the rows, less what they share."""
        return self.embed.square().sum(1) - 2 * (x.transpose(1, 2) @ self.embed.T)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Features [B, 512, L] of tokens [B, L]."""
        return self.embed[tokens].transpose(1, 2)


class Network(nn.Module):
    """What inference uses, under the published names."""

    def __init__(self, hop: int):
        super().__init__()
        levels = nn.ModuleList([nn.ModuleDict({"_codebook": Codebook()})])
        vq = nn.ModuleDict({"vq": nn.ModuleDict({"layers": levels})})
        encodec = nn.ModuleDict({"encoder": Encoder(RATIOS[hop]), "quantizer": vq})
        self.feature_extractor = nn.ModuleDict({"encodec": encodec})
        self.backbone = Backbone()
        self.head = Head(hop)

    @property
    def encoder(self) -> Encoder:
        return self.feature_extractor["encodec"]["encoder"]

    @property
    def codebook(self) -> Codebook:
        return self.get_submodule(CODES)

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, L] as one passage to audio [B, 1, L * hop]."""
        return self.head(self.backbone(self.codebook.look_up(tokens)))


class WavTokenizer(Codec):
    """Tokens of 24 kHz mono, 75 or 40 a second, as the weights are.

    `path` is a published checkpoint, or the smaller safetensors that
    `python -m codec.wavtokenizer CHECKPOINT OUT.safetensors` makes of one.

    Audio of any length is encoded in pieces to the tokens of the whole. Decoding isn't local: an
    attention block and group norms see the whole passage, and have seen 3 seconds in training. What
    is longer than `piece_seconds` is decoded in pieces of this length, whose ends are trimmed and
    faded into each other; null decodes it as one passage, as the original does.
    """

    sample_rate = SAMPLE_RATE
    codebook_size = CODEBOOK

    def __init__(self, path: str, piece_seconds: float | None = 30.0):
        super().__init__()
        state = used(read(path))
        self.net = build(state, path)
        self.hop = self.net.encoder.hop
        self.piece = piece_seconds and round(piece_seconds * SAMPLE_RATE / self.hop)
        if self.piece is not None and self.piece < 4 * TRIM:
            shortest = 4 * TRIM * self.hop / SAMPLE_RATE
            raise ValueError(f"piece_seconds must be at least {shortest:g}, got {piece_seconds}")
        self.eval().requires_grad_(False)

    @cached_property
    def fingerprint(self) -> str:
        """Hash all weights in float32."""
        digest = hashlib.sha256(f"wavtokenizer {self.hop}".encode())
        for name, value in sorted(self.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        if not audio.shape[-1]:
            return torch.zeros(len(audio), 1, 0, dtype=torch.long, device=audio.device)
        with full_precision(audio):
            frames = self.net.encoder.in_pieces(mono(audio).to(self.net.codebook.embed.dtype))
            parts = frames.split(1024, dim=-1)  # the distances to all rows are large
            tokens = [self.net.codebook.distances(x).argmin(-1) for x in parts]
            return torch.cat(tokens, dim=-1)[:, None]

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        if not tokens.shape[-1]:
            return self.net.head.istft.window.new_zeros(len(tokens), 1, 0)
        self.check_tokens(tokens)
        tokens = tokens[:, 0]
        with full_precision(tokens):
            if self.piece is None or tokens.shape[1] <= self.piece:
                return self.net.decode(tokens).clamp(-1, 1)
            return self._decode_pieces(tokens, self.piece).clamp(-1, 1)

    def _decode_pieces(self, tokens: Tensor, piece: int) -> Tensor:
        """Decode pieces of equal length; each replaces the end of the one before."""
        hop, total = self.hop, tokens.shape[1]
        step = piece - 2 * TRIM - FADE
        starts = [*range(0, total - piece, step), total - piece]
        whole = self.net.head.istft.window.new_empty(len(tokens), 1, total * hop)
        for start in starts:
            made = self.net.decode(tokens[:, start : start + piece])
            place = whole[..., start * hop : (start + piece) * hop]
            if start:
                share = torch.linspace(0, 1, FADE * hop, device=made.device)
                fade = slice(TRIM * hop, (TRIM + FADE) * hop)
                made[..., fade] = place[..., fade].lerp(made[..., fade], share)
                place, made = place[..., TRIM * hop :], made[..., TRIM * hop :]
            place.copy_(made)
        return whole


def read(path: str | Path) -> dict[str, Tensor]:
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"no WavTokenizer weights at {path}: get them with "
            "python download_ckpts.py wavtokenizer"
        )
    return read_state(path)


def used(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the published weights that only training used."""
    return {name: value for name, value in state.items() if not name.startswith(DROPPED)}


def build(state: dict[str, Tensor], path: str | Path) -> Network:
    """Build the network a state dict is of, strictly; ValueError names what does not fit."""
    window = state.get("head.istft.window")
    hop = 320 if window is None else len(window) // 4
    with torch.device("meta"):
        net = Network(hop if hop in RATIOS else 320)
    if problem := mismatch(net.state_dict(), state):
        raise ValueError(f"{path} does not hold WavTokenizer at hop 320 or 600: {problem}")
    if (inited := float(state[f"{CODES}.inited"])) != 1:
        raise ValueError(
            f"{path} holds a codebook that was never trained: {CODES}.inited is {inited}, not 1"
        )
    net.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return net


def shrink(path: str | Path, out: str | Path) -> None:
    """Write the weights that inference uses as safetensors."""
    state, out = used(read(path)), Path(out)
    build(state, path)
    out.parent.mkdir(parents=True, exist_ok=True)
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
