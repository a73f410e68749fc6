"""Samplers of the reverse process: Euler, analytic (Lou et al. 2024, section 4.2), first hitting.

`score_fn(x, sigma)` gives log scores [B, L, V] for tokens x [B, L] and noise sigma [B]. Only the
positions that can still change are computed and drawn, in float64.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sedd.graph import Absorb, Graph, draw_categorical
from sedd.noise import Noise

ScoreFn = Callable[[Tensor, Tensor], Tensor]
SAMPLERS = ("analytic", "euler", "first_hitting")


def euler_probs(graph: Graph, x: Tensor, log_score: Tensor, amount: Tensor) -> Tensor:
    """Weights [P, V] of an Euler step from x [P]; amount = step size times the noise rate."""
    rates = graph.reverse_rate(x, log_score.exp())
    return torch.zeros_like(rates).scatter(-1, x[..., None], 1) + amount * rates


def analytic_probs(graph: Graph, x: Tensor, log_score: Tensor, dsigma: Tensor) -> Tensor:
    """Weights [P, V] of a Tweedie step from x [P] over dsigma [P] (Lou et al. 2024, eq. 19)."""
    return graph.staggered_score(log_score.exp(), dsigma) * graph.transp_transition(x, dsigma)


def denoise_probs(graph: Graph, x: Tensor, log_score: Tensor, sigma: Tensor) -> Tensor:
    """Weights [P, K] of the clean tokens: the last Tweedie step, without the mask."""
    return analytic_probs(graph, x, log_score, sigma)[..., : graph.codebook_size]


def warp(log_score: Tensor, x: Tensor, temperature: float, top_p: float) -> Tensor:
    """Sharpen where x [P] jumps to, and leave alone how often it jumps: log scores [P, V]."""
    if temperature == 1 and top_p == 1:
        return log_score
    others = log_score.double().scatter(-1, x[..., None], -math.inf)
    total = others.logsumexp(-1, keepdim=True)
    shares = torch.softmax(others / temperature, -1)
    if top_p < 1:
        ordered, places = shares.sort(-1, descending=True)
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0)
        shares = torch.zeros_like(shares).scatter(-1, places, ordered)
        shares = shares / shares.sum(-1, keepdim=True)
    own = log_score.double().gather(-1, x[..., None])
    return (shares.log() + total).scatter(-1, x[..., None], own)


def time_grid(
    steps: int, eps: float = 1e-5, device: torch.device | None = None
) -> tuple[Tensor, float]:
    """Give steps + 1 even times from 1 down to eps, and the distance between them."""
    return torch.linspace(1, eps, steps + 1, dtype=torch.float64, device=device), (1 - eps) / steps


@torch.no_grad()
def sample(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    shape: tuple[int, int] | None = None,
    steps: int = 128,
    sampler: str = "analytic",
    eps: float = 1e-5,
    denoise: bool = True,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prompt: Tensor | None = None,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Sample tokens [B, L]; positions of `prompt` [B, L] where `keep` [B, L] is true stay.

    Raises ValueError for an unknown sampler or options out of range.
    """
    check(graph, sampler, steps, eps, temperature, top_p, shape, prompt, keep)
    shape = tuple(prompt.shape) if prompt is not None else shape
    device = prompt.device if prompt is not None else device
    free = torch.ones(shape, dtype=torch.bool, device=device) if keep is None else ~keep
    x = graph.sample_limit(shape, generator, device)
    if prompt is not None:
        x = torch.where(free, x, prompt)

    def jumps(where: Tensor, sigma: Tensor) -> Tensor:
        log_score = score_fn(x, sigma)[where].double()
        return warp(log_score, x[where], temperature, top_p)

    if sampler == "first_hitting":
        return first_hitting(jumps, graph, noise, x, free, steps, generator, on_step)
    times, step_size = time_grid(steps, eps, device)
    for i, t in enumerate(times[:-1]):
        where = free & graph.movable(x)
        if where.any():
            sigma, x_free = noise.sigma(t), x[where]
            log_score = jumps(where, sigma.expand(shape[0]).float())
            if sampler == "euler":
                probs = euler_probs(graph, x_free, log_score, step_size * noise.rate(t))
            else:
                dsigma = (sigma - noise.sigma(t - step_size)).expand(len(x_free))
                probs = analytic_probs(graph, x_free, log_score, dsigma)
            x[where] = draw_categorical(probs.clamp(min=0), generator)
        on_step(i + 1, steps)
    where = free & graph.movable(x)
    if denoise and where.any():
        sigma = noise.sigma(times[-1])
        log_score = jumps(where, sigma.expand(shape[0]).float())
        probs = denoise_probs(graph, x[where], log_score, sigma.expand(int(where.sum())))
        x[where] = draw_categorical(probs.clamp(min=0), generator)
    return x


def first_hitting(
    jumps: Callable[[Tensor, Tensor], Tensor],
    graph: Absorb,
    noise: Noise,
    x: Tensor,
    free: Tensor,
    steps: int,
    generator: torch.Generator | None,
    on_step: Callable[[int, int], None],
) -> Tensor:
    """Unmask token by token at the times the process would (Zheng et al. 2024, arXiv:2409.02908).

    Exact with as many steps as tokens; with fewer, several tokens share a network call.
    """
    masked = free & (x == graph.mask_id)
    calls = min(steps, int(masked.sum(1).max()))
    share = -(-masked.sum(1) // max(calls, 1))  # tokens a call, for each item
    fraction = -torch.expm1(-noise.sigma(torch.ones(len(x), dtype=torch.float64, device=x.device)))
    for done in range(calls):
        if not masked.any():
            break
        left = masked.sum(1)
        # of n masks, the next goes when the masked fraction has shrunk by u^(1/n)
        u = torch.rand(len(x), dtype=torch.float64, device=x.device, generator=generator)
        fraction = fraction * u ** (1 / left.clamp(min=1))
        order = torch.rand(x.shape, dtype=torch.float64, device=x.device, generator=generator)
        rank = order.masked_fill(~masked, 2).argsort(1).argsort(1)
        now = masked & (rank < share[:, None])
        sigma = -torch.log1p(-fraction.clamp(max=1 - 1e-9))
        probs = jumps(now, sigma.float())[:, : graph.codebook_size].exp()
        x[now] = draw_categorical(probs, generator)
        masked &= ~now
        # the further tokens of this call pass their own times too
        for extra in range(1, int(share.max())):
            v = torch.rand(len(x), dtype=torch.float64, device=x.device, generator=generator)
            more = (share > extra) & (left > extra)
            shrink = v ** (1 / (left - extra).clamp(min=1))
            fraction = torch.where(more, fraction * shrink, fraction)
        on_step(done + 1, calls)
    return x


def check_options(graph: Graph, sampler: str, steps: int, temperature: float, top_p: float) -> None:
    """Refuse options that make no sense."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    if sampler == "first_hitting" and not isinstance(graph, Absorb):
        raise ValueError("first_hitting samples the absorbing graph only: use analytic or euler")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"temperature must be above 0 and top_p in (0, 1], got {temperature} and {top_p}"
        )


def check(
    graph: Graph,
    sampler: str,
    steps: int,
    eps: float,
    temperature: float,
    top_p: float,
    shape: tuple[int, int] | None,
    prompt: Tensor | None,
    keep: Tensor | None,
) -> None:
    """Refuse options that make no sense, and a prompt whose kept tokens are no codes."""
    check_options(graph, sampler, steps, temperature, top_p)
    if not 0 < eps < 1:
        raise ValueError(f"eps must lie between 0 and 1, got {eps}; the default is 1e-5")
    if (prompt is None) != (keep is None):
        raise ValueError("prompt and keep go together: tokens, and which of them stay")
    if prompt is None:
        if shape is None or len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"expected shape (batch, length), both at least 1, got {shape}")
        return
    if shape is not None and tuple(shape) != tuple(prompt.shape):
        raise ValueError(f"shape {tuple(shape)} contradicts the prompt's {tuple(prompt.shape)}")
    if keep.dtype != torch.bool or keep.shape != prompt.shape:
        raise ValueError(
            f"keep must be booleans of the prompt's shape {tuple(prompt.shape)}, "
            f"got {keep.dtype} of shape {tuple(keep.shape)}"
        )
    if ((prompt[keep] < 0) | (prompt[keep] >= graph.codebook_size)).any():
        raise ValueError(
            f"kept tokens must be from 0 to {graph.codebook_size - 1}, "
            f"got {int(prompt[keep].min())} to {int(prompt[keep].max())}; "
            "was the prompt made by another codec?"
        )


def fill(
    draw: Callable[[Tensor, Tensor], Tensor], tokens: Tensor, keep: Tensor, window: int
) -> Tensor:
    """Draw what is not kept of tokens [B, L], window by window, each half a window on."""
    total = tokens.shape[1]
    while not keep.all():
        first = int((~keep[0]).nonzero()[0])
        start = max(0, min(first - window // 2, total - window))
        part = slice(start, start + window)
        tokens, keep = tokens.clone(), keep.clone()
        tokens[:, part] = draw(tokens[:, part], keep[:, part])
        keep[:, part] = True
    return tokens
