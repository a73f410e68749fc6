"""The steps that SEDD's and MDLM's repositories take, rebuilt from what they publish.

The same blocks, losses and samplers with the same intermediate tensors, over this project's
parameters; flash-attn is PyTorch's attention here. Sources: Lou et al. 2024 (arXiv:2310.16834),
Sahoo et al. 2024 (arXiv:2406.07524), and their public code's order of operations.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.transformer import NoiseEmbedding


class OriginalNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight, self.dim = nn.Parameter(torch.ones(dim)), dim

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = F.layer_norm(x.float(), [self.dim])
        return x * self.weight[None, None, :]


def turned(qkv: Tensor) -> Tensor:
    """Rotate queries and keys of qkv [B, L, 3, H, D] by halves, in one tensor."""
    half = qkv.shape[-1] // 2
    places = torch.arange(qkv.shape[1], device=qkv.device).float()
    frequencies = 10000 ** -(torch.arange(half, device=qkv.device) / half)
    angles = torch.outer(places, frequencies).repeat(1, 2)[None, :, None, None, :]
    cos, sin = angles.cos().repeat(1, 1, 3, 1, 1), angles.sin().repeat(1, 1, 3, 1, 1)
    cos[:, :, 2], sin[:, :, 2] = 1, 0
    first, second = qkv.chunk(2, -1)
    return qkv * cos + torch.cat([-second, first], -1) * sin


class OriginalBlock(nn.Module):
    def __init__(self, dim: int, heads: int, cond: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = OriginalNorm(dim), OriginalNorm(dim)
        self.attn_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.attn_out = nn.Linear(dim, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim)
        )
        self.adaLN_modulation = nn.Linear(cond, 6 * dim)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        a, b, gate, d, e, gate2 = self.adaLN_modulation(c)[:, None].chunk(6, dim=2)
        skip, h = x, self.norm1(x) * (1 + b) + a
        qkv = turned(self.attn_qkv(h).unflatten(-1, (3, self.heads, -1)))
        q, k, v = (one.transpose(1, 2) for one in qkv.unbind(2))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = skip + gate * F.dropout(self.attn_out(out), self.dropout, self.training)
        h = self.norm2(x) * (1 + e) + d
        return x + gate2 * F.dropout(self.mlp(h), self.dropout, self.training)


class OriginalNet(nn.Module):
    """The backbone of both: tokens [B, L] and sigma [B] to logits [B, L, V]."""

    def __init__(self, states: int, dim: int, blocks: int, heads: int, dropout: float):
        super().__init__()
        self.embed = nn.Embedding(states, dim)
        self.sigma_map = NoiseEmbedding(128)
        self.blocks = nn.ModuleList(OriginalBlock(dim, heads, 128, dropout) for _ in range(blocks))
        self.norm = OriginalNorm(dim)
        self.linear, self.adaLN = nn.Linear(dim, states), nn.Linear(128, 2 * dim)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        h, c = self.embed(x), F.silu(self.sigma_map(sigma))
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.adaLN(c)[:, None].chunk(2, dim=2)
        return self.linear(self.norm(h) * (1 + scale) + shift)


def sedd_scores(net: OriginalNet, x: Tensor, sigma: Tensor) -> Tensor:
    """Return log scores [B, L, V], scaled by sigma."""
    logits, states = net(x, sigma), net.linear.out_features
    esigm1 = torch.where(sigma < 0.5, torch.expm1(sigma), sigma.exp() - 1).log().to(logits.dtype)
    logits = logits - esigm1[:, None, None] - math.log(states - 1)
    return torch.scatter(logits, -1, x[..., None], torch.zeros_like(logits[..., :1]))


def sedd_loss(net: OriginalNet, x0: Tensor, t: Tensor, eps: float = 1e-3) -> Tensor:
    sigma, rate = -torch.log1p(-(1 - eps) * t), (1 - eps) / (1 - (1 - eps) * t)
    mask = net.linear.out_features - 1
    x = torch.where(torch.rand(x0.shape, device=x0.device) < 1 - (-sigma[:, None]).exp(), mask, x0)
    score, masked = sedd_scores(net, x, sigma), x == mask
    esigm1 = torch.where(sigma < 0.5, torch.expm1(sigma), sigma.exp() - 1)[:, None]
    ratio = 1 / esigm1.expand_as(x)[masked]
    negative = ratio * torch.gather(score[masked], -1, x0[masked][..., None]).squeeze(-1)
    positive = score[masked][:, :-1].exp().sum(-1)
    entropy = torch.zeros(x.shape, device=x.device)
    entropy[masked] += positive - negative + ratio * (ratio.log() - 1)
    return (rate[:, None] * entropy).sum(-1).mean()


def mdlm_log_law(net: OriginalNet, x: Tensor) -> Tensor:
    """Return log p(x0 | x) [B, L, V] by substitution; the network doesn't read the time."""
    logits, mask = net(x, torch.zeros(len(x), device=x.device)), net.linear.out_features - 1
    logits[:, :, mask] += -1e6
    logits = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    clean = x != mask
    logits[clean] = -1e6
    logits[clean, x[clean]] = 0
    return logits


def mdlm_loss(net: OriginalNet, x0: Tensor, t: Tensor, eps: float = 1e-3) -> Tensor:
    sigma, rate = -torch.log1p(-(1 - eps) * t), (1 - eps) / (1 - (1 - eps) * t)
    mask = net.linear.out_features - 1
    x = torch.where(torch.rand(x0.shape, device=x0.device) < 1 - (-sigma[:, None]).exp(), mask, x0)
    nats = -torch.gather(mdlm_log_law(net, x), -1, x0[:, :, None]).squeeze(-1)
    return (nats * (rate / torch.expm1(sigma))[:, None]).mean()


def drawn(probs: Tensor) -> Tensor:
    return (probs / (1e-10 - (torch.rand_like(probs) + 1e-10).log())).argmax(-1)


@torch.no_grad()
def sedd_sample(net: OriginalNet, shape: tuple[int, int], steps: int, eps: float = 1e-5) -> int:
    """Run the analytic sampler with its final denoising; return the network calls."""
    states, device = net.linear.out_features, net.linear.weight.device
    x = torch.full(shape, states - 1, device=device)
    times, step = torch.linspace(1, eps, steps + 1, device=device), (1 - eps) / steps

    def noise(t: Tensor) -> Tensor:
        return -torch.log1p(-(1 - 1e-3) * t)

    for i in range(steps + 1):
        t = times[i].expand(len(x))
        sigma = noise(t)
        dsigma = (sigma if i == steps else sigma - noise(t - step))[:, None, None]
        score = sedd_scores(net, x, sigma).exp()
        extra = (1 - dsigma.exp()) * score.sum(-1, keepdim=True)
        score = score * dsigma.exp()
        score[..., -1] += extra[..., 0]
        edge = (-dsigma).exp() * F.one_hot(x, states)
        edge += torch.where(x == states - 1, 1 - (-dsigma[..., 0]).exp(), 0)[..., None]
        probs = score * edge
        x = drawn(probs if i < steps else probs[..., :-1])
    return steps + 1


@torch.no_grad()
def mdlm_sample(net: OriginalNet, shape: tuple[int, int], steps: int, eps: float = 1e-5) -> int:
    """Run the cached ancestral sampler; return the network calls."""
    mask, calls, law = net.linear.out_features - 1, 0, None
    x = torch.full(shape, mask, device=net.linear.weight.device)
    for t in torch.linspace(1, eps, steps + 1).tolist()[:-1]:
        if law is None:
            law, calls = mdlm_log_law(net, x).exp(), calls + 1
        step = (1 - eps) / steps
        probs = law * step
        probs[:, :, mask] = t - step
        new = drawn(probs)
        copied = (x != mask).to(x.dtype)
        after = copied * x + (1 - copied) * new
        law = law if torch.equal(after, x) else None
        x = after
    return calls
