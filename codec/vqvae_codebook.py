"""Learn a codebook by moving averages, on one process or many.

van den Oord et al. 2017, arXiv:1711.00937, appendix A.1; revival of dead codes as in Jukebox
(Dhariwal et al. 2020, arXiv:2005.00341, section 3.2).
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist

from codec.vqvae import Codebook


class CodebookEMA(nn.Module):
    """Running sums of one codebook's vectors; all are buffers, so that training resumes.

    Args:
        codebook: whose codes move
        decay: weight of the running sums against the present batch
        revive_below: a code used less often than this a step is moved to a vector of the batch
    """

    sums: Tensor
    counts: Tensor
    ready: Tensor
    codebook: Codebook

    def __init__(self, codebook: Codebook, decay: float = 0.99, revive_below: float = 1.0):
        super().__init__()
        object.__setattr__(self, "codebook", codebook)  # owned, saved and moved by the VQ-VAE
        self.decay, self.revive_below = decay, revive_below
        self.register_buffer("sums", codebook.k.clone())
        self.register_buffer("counts", torch.ones(len(codebook.k)))
        self.register_buffer("ready", torch.tensor(False))

    @torch.no_grad()
    def initialise(self, vectors: Tensor) -> None:
        """Start from vectors [N, D] of the first batch, or from a codebook that was loaded."""
        if not self.codebook.k.any():
            self.codebook.k.copy_(self.draw(vectors))
        self.sums.copy_(self.codebook.k)
        self.counts.fill_(1)
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Move each code towards its vectors; return how many each has, [K].

        `vectors` [N, D] were rounded to `codes` [N].
        """
        sums = torch.zeros_like(self.sums).index_add_(0, codes, vectors.float())
        counts = torch.bincount(codes, minlength=len(self.counts)).to(self.counts)
        if dist.is_initialized():
            dist.all_reduce(sums)
            dist.all_reduce(counts)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
        self.counts.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        alive = self.counts >= self.revive_below
        self.codebook.k[alive] = self.sums[alive] / self.counts[alive, None]
        return counts

    @torch.no_grad()
    def revive(self, vectors: Tensor) -> int:
        """Move the dead codes to vectors [N, D] of this batch; return how many were moved."""
        dead = self.counts < self.revive_below
        fresh = self.draw(vectors)[dead]
        self.codebook.k[dead] = fresh
        # The sums start again at the new vector, or the old ones would pull it back
        self.sums[dead] = fresh * self.revive_below
        self.counts[dead] = self.revive_below
        return int(dead.sum())

    def draw(self, vectors: Tensor) -> Tensor:
        """Draw one of the vectors [N, D] for each code, the same on every process."""
        picks = torch.randint(len(vectors), (len(self.counts),), device=vectors.device)
        drawn = vectors[picks].float()
        if len(vectors) < len(drawn):  # codes at equal vectors would stay equal
            drawn = drawn + 0.01 * drawn.std() * torch.randn_like(drawn)
        if dist.is_initialized():
            dist.broadcast(drawn, 0)
        return drawn


def perplexity(counts: Tensor) -> Tensor:
    """Effective number of codes in use, from counts [K]."""
    shares = counts / counts.sum()
    return torch.special.entr(shares).sum().exp()
