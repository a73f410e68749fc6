"""VGGish embeddings (Hershey et al. 2017), from the published PyTorch weights."""

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from foundation.weights import load_strictly, read_state
from metrics.embedding import Embedding, find_weights
from metrics.mel import htk_filters
from metrics.winograd import Conv3x3, prepare

FILE = "vggish-10086976.pth"
FFT, FRAME, HOP = 512, 400, 160
PATCH = 96  # frames of an example, 0.96 s
PATCHES = 8  # convolved at once on a CPU, so that they stay in its cache
CHANNELS = ((64,), (128,), (256, 256), (512, 512))  # convolutions between poolings


def network() -> nn.ModuleDict:
    """Build the network under the published names; the last layer's ReLU is left out."""
    layers: list[nn.Module] = []
    last = 1
    for width in CHANNELS:
        for channels in width:
            layers += [Conv3x3(last, channels), nn.ReLU(inplace=True)]
            last = channels
        layers.append(nn.MaxPool2d(2, 2))
    sizes = (512 * 4 * 6, 4096, 4096, 128)
    dense = [(nn.Linear(a, b), nn.ReLU(inplace=True)) for a, b in itertools.pairwise(sizes)]
    embeddings = nn.Sequential(*list(itertools.chain(*dense))[:-1])
    return nn.ModuleDict({"features": nn.Sequential(*layers), "embeddings": embeddings})


class VGGish(Embedding):
    """One vector of 128 numbers for each 0.96 s; without PCA and without the final activation.

    Args:
        path: the published file, if it isn't in ckpts/
        net: a network with its weights, in place of the file
    """

    name = "vggish"
    sample_rate = 16000
    dim = 128
    shortest = FRAME + (PATCH - 1) * HOP
    stride = PATCH * HOP
    filters: Tensor
    window: Tensor
    front_end = "magnitude STFT 400/160, 64 HTK mel 125-7500 Hz, log(x + 0.01), 0.96 s"

    def __init__(self, path: str | Path | None = None, net: nn.ModuleDict | None = None):
        super().__init__()
        self.net = net or network()
        if net is None:
            file = find_weights(path, FILE, "vggish")
            load_strictly(self.net, read_state(file), f"{file} doesn't fit VGGish")
        filters = htk_filters(self.sample_rate, FFT, 64, 125.0, 7500.0)
        self.register_buffer("filters", filters, persistent=False)
        window = torch.hann_window(FRAME, dtype=torch.float64).float()
        self.register_buffer("window", window, persistent=False)
        self.eval().requires_grad_(False)
        self.net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        prepare(self.net)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Compute log mel magnitudes [B, N, 64] of audio [B, T], frames not padded."""
        frames = audio.unfold(-1, FRAME, HOP) * self.window
        return (torch.fft.rfft(frames, FFT).abs() @ self.filters + 0.01).log()

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to log mel patches [B, W, 96, 64]; the rest at the end is dropped."""
        mel = self.log_mel(audio)
        whole = mel.shape[1] // PATCH
        return mel[:, : whole * PATCH].unflatten(1, (whole, PATCH))

    def embed(self, examples: Tensor) -> Tensor:
        patches = examples[:, None].contiguous(memory_format=torch.channels_last)
        few = PATCHES if examples.device.type == "cpu" else len(patches)
        maps = torch.cat([self.net["features"](part) for part in patches.split(few)])
        return self.net["embeddings"](maps.permute(0, 2, 3, 1).flatten(1))
