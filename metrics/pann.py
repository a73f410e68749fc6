"""PANN's Cnn14 embeddings (Kong et al. 2020, arXiv:1912.10211), from the published weights."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from foundation.errors import UserError
from foundation.weights import load_strictly, read_state
from metrics.embedding import Embedding, find_weights
from metrics.mel import slaney_filters
from metrics.winograd import Conv3x3, prepare

WIDTHS = (1, 64, 128, 256, 512, 1024, 2048)
CLIP_SECONDS = 10  # the length it was trained on
CLIPS = 4  # clips at once on a CPU, so that their maps stay in its cache
FEWEST_FRAMES = 32  # five halvings leave one
# by sample rate: file, window, hop, highest frequency
MODELS = {
    8000: ("Cnn14_8k_mAP=0.416.pth", 256, 80, 4000),
    16000: ("Cnn14_16k_mAP=0.438.pth", 512, 160, 8000),
    32000: ("Cnn14_mAP=0.431.pth", 1024, 320, 14000),
}


class Block(nn.Module):
    """Two convolutions, each with batch norm and ReLU."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv1 = Conv3x3(in_channels, channels, bias=False)
        self.conv2 = Conv3x3(channels, channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = normalise(self.bn1, self.conv1(x)).relu_()
        return normalise(self.bn2, self.conv2(x)).relu_()


def normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply a trained batch norm to maps [B, C, H, W] in place, which saves a copy."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight * (variance + norm.eps).rsqrt()
    shift = norm.bias - mean * scale
    return x.mul_(scale[:, None, None]).add_(shift[:, None, None])


class Fourier(nn.Module):
    """Windowed Fourier transform as two convolutions: the published files hold its weights."""

    def __init__(self, size: int, hop: int):
        super().__init__()
        bins = size // 2 + 1
        self.conv_real = nn.Conv1d(1, bins, size, stride=hop, bias=False)
        self.conv_imag = nn.Conv1d(1, bins, size, stride=hop, bias=False)
        angle = torch.arange(bins)[:, None] * torch.arange(size).remainder(size) % size
        wave = torch.polar(
            torch.hann_window(size, dtype=torch.float64).expand(bins, size),
            -2 * math.pi / size * angle.double(),
        )
        self.conv_real.weight.data = wave.real[:, None].float()
        self.conv_imag.weight.data = wave.imag[:, None].float()

    def forward(self, audio: Tensor) -> Tensor:
        """Compute power [B, N, F] of audio [B, T], reflected at its ends."""
        half = self.conv_real.kernel_size[0] // 2
        x = pad(audio[:, None], (half, half), mode="reflect")
        return (self.conv_real(x).square() + self.conv_imag(x).square()).transpose(1, 2)


class Cnn14(nn.Module):
    """The published network, under the published names."""

    def __init__(
        self,
        sample_rate: int,
        window_size: int,
        hop_size: int,
        mel_bins: int = 64,
        fmin: float = 50,
        fmax: float = 14000,
        classes_num: int = 527,
    ):
        super().__init__()
        self.spectrogram_extractor = nn.ModuleDict({"stft": Fourier(window_size, hop_size)})
        filters = slaney_filters(sample_rate, window_size, mel_bins, fmin, fmax)
        mel = nn.Parameter(filters, requires_grad=False)
        self.logmel_extractor = nn.ParameterDict({"melW": mel})
        self.bn0 = nn.BatchNorm2d(mel_bins)
        for number in range(1, 7):
            block = Block(WIDTHS[number - 1], WIDTHS[number])
            self.add_module(f"conv_block{number}", block)
        self.fc1 = nn.Linear(2048, 2048)
        self.fc_audioset = nn.Linear(2048, classes_num)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Compute mel power [B, N, M] of audio [B, T] in dB."""
        mel = self.spectrogram_extractor["stft"](audio) @ self.logmel_extractor["melW"]
        return 10 * mel.clamp(min=1e-10).log10()

    def embed(self, mel: Tensor) -> Tensor:
        """Embed log mel [B, N, M] to vectors [B, 2048]; without gradients."""
        few = CLIPS if mel.device.type == "cpu" else len(mel)
        x = torch.cat([self.maps(part) for part in mel.split(few)])
        x = self.get_submodule("conv_block6")(x).mean(dim=3)  # [B, 2048, N / 32]
        return self.fc1(x.amax(dim=2) + x.mean(dim=2)).relu_()

    def maps(self, mel: Tensor) -> Tensor:
        """Compute the fifth block's maps [B, 1024, N / 32, M / 32] of log mel [B, N, M]."""
        x = self.bn0(mel.transpose(1, 2)[..., None]).permute(0, 3, 2, 1)  # [B, 1, N, M]
        x = x.contiguous(memory_format=torch.channels_last)
        for number in range(1, 6):
            x = avg_pool2d(self.get_submodule(f"conv_block{number}")(x), 2)
        return x


class PANN(Embedding):
    """One vector of 2048 numbers for each 10 s, or one for a shorter clip.

    Args:
        sample_rate: 8000, 16000 or 32000 Hz, of which each has published weights
        path: the published file, if it isn't in ckpts/
        net: a network with its weights, in place of the file
        clip_seconds: audio behind one vector; null takes each file whole
    """

    dim = 2048

    def __init__(
        self,
        sample_rate: int = 16000,
        path: str | Path | None = None,
        net: Cnn14 | None = None,
        clip_seconds: float | None = CLIP_SECONDS,
    ):
        super().__init__()
        if sample_rate not in MODELS:
            raise UserError(f"PANN works at {', '.join(map(str, MODELS))} Hz, not {sample_rate}")
        name, window, hop, highest = MODELS[sample_rate]
        self.name = f"pann_{sample_rate // 1000}k"
        self.sample_rate = sample_rate
        self.shortest = (FEWEST_FRAMES - 1) * hop
        self.clip = self.stride = round(clip_seconds * sample_rate) if clip_seconds else None
        length = f"{clip_seconds:g} s" if clip_seconds else "whole clips"
        self.front_end = f"power STFT {window}/{hop}, 64 Slaney mel 50-{highest} Hz, dB, {length}"
        self.net = net or Cnn14(sample_rate, window, hop, fmax=highest)
        if net is None:
            file = find_weights(path, name, f"pann-{sample_rate // 1000}k")
            load_strictly(self.net, read_state(file), f"{file} doesn't fit {self.name}")
        self.eval().requires_grad_(False)
        self.net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        prepare(self.net)

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to log mel [B, W, N, 64] of clips, or of all of a short one."""
        if self.clip and audio.shape[-1] > self.clip:
            audio = audio.unfold(-1, self.clip, self.clip)
        else:
            audio = audio[:, None]
        return self.net.log_mel(audio.flatten(0, 1)).unflatten(0, audio.shape[:2])

    def embed(self, examples: Tensor) -> Tensor:
        return self.net.embed(examples)

    def whole_clips(self) -> "PANN":
        """Return the embedding of whole files, as frechet_audio_distance takes them."""
        return PANN(self.sample_rate, net=self.net, clip_seconds=None)
