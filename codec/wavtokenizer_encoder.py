"""WavTokenizer's encoder: EnCodec's SEANet, not causal (Defossez et al. 2022, arXiv:2210.13438)."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

WIDTH = 32  # channels of the first convolution; each downsampling doubles them
DIM = 512
MARGIN = 4  # frames; the convolutions before the LSTM reach less than two frames to each side
REACH = 3  # frames on each side that the last convolution sees
State = tuple[Tensor, Tensor]  # of the LSTMs
PIECE = 750  # frames of audio that the convolutions process at once


class NormedConv(nn.Module):
    """Convolution with weights g v / |v| under the published names (weight normalisation)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.weight_g = nn.Parameter(torch.ones(channels_out, 1, 1))
        self.weight_v = nn.Parameter(torch.randn(channels_out, channels_in, kernel))

    def forward(self, x: Tensor, stride: int) -> Tensor:
        norm = self.weight_v.norm(dim=(1, 2), keepdim=True)
        return conv1d(x, self.weight_v * (self.weight_g / norm), self.bias, stride)


class Conv(nn.Module):
    """Convolve x [B, C, T] to [B, C', ceil(T / stride)], reflected at both ends."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.ModuleDict({"conv": NormedConv(channels_in, channels_out, kernel)})

    def forward(self, x: Tensor) -> Tensor:
        total = self.kernel - self.stride
        right = total // 2
        ragged = -x.shape[-1] % self.stride
        return self.conv["conv"](reflect(x, total - right, right + ragged), self.stride)


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Reflect x [B, C, T] at both ends; x that is too short for that gets zeros first."""
    missing = max(0, max(left, right) - x.shape[-1] + 1)
    padded = pad(pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.ELU(), Conv(width, width // 2, 3), nn.ELU(), Conv(width // 2, width, 1)
        )
        self.shortcut = Conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class SkipLSTM(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(x, None)[0]

    def after(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Continue from the state after what came before x [B, C, L]; also return the new one."""
        out, after = self.lstm(x.permute(2, 0, 1), state)
        return x + out.permute(1, 2, 0), after


class Encoder(nn.Module):
    """Encode audio [B, 1, T] to [B, 512, ceil(T / hop)], with `ratios` from fine to coarse."""

    def __init__(self, ratios: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = [Conv(1, WIDTH, 7)]
        width, self.hop = WIDTH, 1
        for ratio in ratios:
            layers += [Residual(width), nn.ELU(), Conv(width, 2 * width, 2 * ratio, ratio)]
            width, self.hop = 2 * width, self.hop * ratio
        self.local = len(layers)  # the layers after these see all frames
        self.model = nn.Sequential(*layers, SkipLSTM(width), nn.ELU(), Conv(width, DIM, 7))

    def forward(self, audio: Tensor) -> Tensor:
        return self.model(audio)

    def local_frames(self, audio: Tensor) -> Tensor:
        """Apply the layers before the LSTM to audio [B, 1, T]."""
        return self.model[: self.local](audio)

    def in_pieces(self, audio: Tensor, piece: int = PIECE) -> Tensor:
        """Return what `forward` does, with the memory of `piece` frames' convolutions.

        The LSTMs run over all frames, which are small, so the result is the same.
        """
        local, parts = self.model[: self.local], []
        total = -(-audio.shape[-1] // self.hop)
        for start in range(0, total, piece):
            first, last = max(0, start - MARGIN), start + piece + MARGIN
            part = local(audio[..., first * self.hop : last * self.hop])
            parts.append(part[..., start - first : start - first + piece])
        return self.model[self.local :](torch.cat(parts, dim=-1))

    def in_stream(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Return what `forward` does, bit by bit, for the local layers' frames [B, C, L] in order.

        The LSTMs go on from part to part; the last convolution waits for the frames it looks at.
        """
        skip, last = self.model[self.local], self.model[self.local + 1 :]
        assert isinstance(skip, SkipLSTM)
        state, seen, emitted = None, None, 0  # of `seen`, so many frames have been returned
        for part in parts:
            new, state = skip.after(part, state)
            seen = new if seen is None else torch.cat([seen, new], dim=-1)
            ready = seen.shape[-1] - REACH
            if ready > emitted:
                yield last(seen)[..., emitted:ready]
                first = max(0, ready - REACH)
                seen, emitted = seen[..., first:], ready - first
        if seen is not None:
            yield last(seen)[..., emitted:]
