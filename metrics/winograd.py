"""3x3 convolutions with a quarter of the multiplications, for networks that embed on the CPU.

Winograd's F(4x4, 3x3) (Lavin & Gray 2016, arXiv:1509.09308): tiles of 6x6 give 4x4 results through
36 products where the plain sum takes 144. cuDNN chooses it by itself, PyTorch on the CPU does not.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

TILE, STEP = 6, 4
FEWEST = 128  # channels below which moving the tiles costs more than the products saved
WIDEST = 1024  # above it the transformed weights take more memory than they're worth
AT_ONCE = 1 << 16  # tiles times channels: what is worked on stays in the cache


def both_ways(matrix: list[list[float]]) -> Tensor:
    """Make one matrix of a transform's rows and columns."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one)


INPUT = both_ways(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
).float()
WEIGHT = both_ways(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
OUTPUT = both_ways(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
).float()


class Conv3x3(nn.Conv2d):
    """A convolution of size 3 with padding 1. After `prepare` it takes the fast way on the CPU."""

    def __init__(self, before: int, after: int, bias: bool = True):
        super().__init__(before, after, 3, padding=1, bias=bias)
        self.register_buffer("transformed", None, persistent=False)

    def prepare(self) -> None:
        """Transform the weights as they are now, to [36, before, after]."""
        if FEWEST <= self.in_channels and self.out_channels <= WIDEST:
            weight = self.weight.detach().double().permute(2, 3, 1, 0)  # [3, 3, before, after]
            made = WEIGHT @ weight.reshape(9, -1)
            self.transformed = made.view(-1, *weight.shape[2:]).float()

    def forward(self, x: Tensor) -> Tensor:
        if self.transformed is None or x.device.type != "cpu" or min(x.shape[-2:]) < STEP:
            return super().forward(x)
        tiles = -(-x.shape[2] // STEP) * -(-x.shape[3] // STEP)
        batch = max(1, AT_ONCE // (tiles * self.in_channels))
        return torch.cat([self.fast(part) for part in x.split(batch)])

    def fast(self, x: Tensor) -> Tensor:
        """Convolve [B, before, H, W]; the results are channels last."""
        rows, columns = x.shape[2:]
        more = [-size % STEP + 1 for size in (columns, rows)]
        x = pad(x.permute(0, 2, 3, 1), (0, 0, 1, more[0], 1, more[1]))
        tiles = x.unfold(1, TILE, STEP).unfold(2, TILE, STEP)  # [B, R, S, before, 6, 6]
        batch, down, across = tiles.shape[:3]
        tiles = INPUT @ tiles.permute(4, 5, 0, 1, 2, 3).reshape(TILE**2, -1)
        made = tiles.view(TILE**2, -1, self.in_channels) @ self.transformed
        made = OUTPUT @ made.view(TILE**2, -1)
        made = made.view(STEP, STEP, batch, down, across, -1).permute(2, 3, 0, 4, 1, 5)
        made = made.reshape(batch, down * STEP, across * STEP, -1)[:, :rows, :columns]
        if self.bias is not None:
            made = made + self.bias
        return made.permute(0, 3, 1, 2)


def prepare(net: nn.Module) -> None:
    """Let a network's convolutions take the fast way; to be called again when weights change."""
    for module in net.modules():
        if isinstance(module, Conv3x3):
            module.prepare()
