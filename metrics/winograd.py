"""3x3 convolutions in fewer multiplications, for networks that embed on the CPU.

Winograd's F(4x4, 3x3) (Lavin & Gray 2016, arXiv:1509.09308): a tile of 6x6 gives 4x4 results with
36 products, where the plain sum takes 144. cuDNN chooses it by itself, PyTorch on the CPU does not.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

TILE, STEP = 6, 4
MIN_CHANNELS = (64, 128)  # in and out; below them the transforms cost what is saved
MAX_CHANNELS = 1024  # above it the transformed weights take more memory than they're worth
TILES = 128  # of each thread at once: they stay in its cache
INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
WEIGHT = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float32,
)


def transform(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a matrix [p, q] to the rows and the columns of tiles [q, q, ...]: [p, p, N]."""
    p, q = matrix.shape
    return matrix @ (matrix @ x.reshape(q, -1)).view(p, q, -1)


class Conv3x3(nn.Conv2d):
    """A convolution of size 3 with padding 1, faster on the CPU after `prepare`."""

    transformed: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)
        self.register_buffer("transformed", None, persistent=False)

    @property
    def pays(self) -> bool:
        return self.in_channels >= MIN_CHANNELS[0] and self.out_channels >= MIN_CHANNELS[1]

    def prepare(self) -> None:
        """Transform the present weights to [36, C, C']."""
        if self.pays and self.out_channels <= MAX_CHANNELS:
            made = transform(WEIGHT, self.weight.detach().double().permute(2, 3, 1, 0))
            self.transformed = made.view(-1, self.in_channels, self.out_channels).float()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [B, C, H, W] to [B, C', H, W]."""
        if self.pays and x.device.type == "cpu":
            if min(x.shape[-2:]) < STEP:
                return self.as_product(x)
            if self.transformed is not None:
                return self.fast(x)
        return super().forward(x)

    def as_product(self, x: Tensor) -> Tensor:
        """Convolve narrow maps as one matrix product, faster than oneDNN's loops over columns."""
        batch, channels, rows, columns = x.shape
        x = pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        around = x.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3)  # [B, H, W, 3, 3, C]
        weight = self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1)
        made = around.reshape(-1, 9 * channels) @ weight.T
        made = made.view(batch, rows, columns, -1).permute(0, 3, 1, 2)
        return made if self.bias is None else made + self.bias[:, None, None]

    def fast(self, x: Tensor) -> Tensor:
        """Convolve whole rows of tiles, some at a time; the result is channels last."""
        batch, _, height, width = x.shape
        rows, columns = -(-height // STEP), -(-width // STEP)  # of tiles
        right, bottom = columns * STEP - width + 1, rows * STEP - height + 1
        x = pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, bottom))
        made = x.new_empty(batch, rows * STEP, columns * STEP, self.out_channels)
        tiles = TILES * torch.get_num_threads()
        clips, high = max(1, tiles // (rows * columns)), max(1, tiles // columns)
        for clip in range(0, batch, clips):
            here = slice(clip, clip + clips)
            for row in range(0, rows * STEP, high * STEP):
                part = x[here, row : row + high * STEP + TILE - STEP]
                made[here, row : row + high * STEP] = self.tiles(part)
        if self.bias is not None:
            made += self.bias
        return made[:, :height, :width].permute(0, 3, 1, 2)

    def tiles(self, x: Tensor) -> Tensor:
        """Convolve padded [B, 4R + 2, 4S + 2, C] to [B, 4R, 4S, C']."""
        x = x.unfold(1, TILE, STEP).unfold(2, TILE, STEP)  # [B, R, S, before, 6, 6]
        batch, rows, columns, channels = x.shape[:4]
        x = transform(INPUT, x.permute(4, 5, 0, 1, 2, 3)).view(TILE**2, -1, channels)
        assert self.transformed is not None
        made = transform(OUTPUT, (x @ self.transformed).view(TILE, TILE, -1))
        made = made.view(STEP, STEP, batch, rows, columns, -1).permute(2, 3, 0, 4, 1, 5)
        return made.reshape(batch, rows * STEP, columns * STEP, -1)


def prepare(net: nn.Module) -> None:
    """Prepare all convolutions of a network; call it again when weights change."""
    for module in net.modules():
        if isinstance(module, Conv3x3):
            module.prepare()
