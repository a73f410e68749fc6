"""Sample from SEDD: reverse steps, the final denoising, prompting, and first hitting.

`score_fn(x, sigma)` maps tokens x [B, L] and total noise sigma [B] to log scores [B, L, V]. Only
positions that a step can change are computed and drawn: for Absorb those still masked. All draws
are made in float64.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sedd.graph import Absorb, Graph, draw_categorical
from sedd.noise import Noise

ScoreFn = Callable[[Tensor, Tensor], Tensor]
OnStep = Callable[[int, int], None]  # called with the steps done and their total


def analytic_probs(graph: Graph, log_score: Tensor, x: Tensor, dsigma: Tensor) -> Tensor:
    """Give the law [..., V] of the tokens dsigma before x (Tweedie; Lou et al. 2024, eq. 19)."""
    return graph.staggered_score(log_score.exp(), dsigma) * graph.transp_transition(x, dsigma)


def euler_probs(graph: Graph, log_score: Tensor, x: Tensor, dsigma: Tensor) -> Tensor:
    """Give the law [..., V] of one Euler step of the reversed process, dsigma = rate * step size."""
    flow = dsigma.reshape(dsigma.shape + (1,) * (log_score.ndim - dsigma.ndim)) * (
        graph.reverse_rate(x, log_score.exp())
    )
    return flow.scatter_add(-1, x[..., None], torch.ones_like(flow[..., :1]))


def denoise_probs(graph: Graph, log_score: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
    """Give the law [..., codebook_size] of the clean tokens under x; never a mask."""
    return analytic_probs(graph, log_score, x, sigma)[..., : graph.codebook_size]


def sharpen(probs: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Sharpen unnormalised probs [..., V] to power 1 / temperature, then keep the nucleus.

    The nucleus is the likeliest tokens that hold top_p of the mass (Holtzman et al. 2020,
    arXiv:1904.09751). The sum stays what it was.
    """
    if temperature == 1 and top_p == 1:
        return probs
    probs = probs.double().clamp(min=0)
    mass = probs.sum(-1, keepdim=True)
    law = torch.softmax(probs.log() / temperature, -1).nan_to_num(0.0)  # all 0: nothing to sharpen
    if top_p < 1:
        ordered, order = law.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= top_p
        law = law.masked_fill(outside.gather(-1, order.argsort(-1)), 0)
        law = law / law.sum(-1, keepdim=True).clamp(min=torch.finfo(law.dtype).tiny)
    return law * mass


def _sharpen_moves(probs: Tensor, x: Tensor, temperature: float, top_p: float) -> Tensor:
    """Sharpen where tokens go, not how often: the probability of staying at x is kept."""
    if temperature == 1 and top_p == 1:
        return probs
    stay = probs.double().gather(-1, x[..., None])
    moves = sharpen(probs.double().scatter(-1, x[..., None], 0), temperature, top_p)
    return moves.scatter(-1, x[..., None], stay)


class _Positions:
    """The positions [M] of x [B, L] that may change, with their tokens, items and log scores."""

    def __init__(
        self, score_fn: ScoreFn, graph: Graph, x: Tensor, sigma: Tensor, keep: Tensor | None
    ):
        movable = graph.movable(x)
        self.where = movable if keep is None else movable & ~keep
        self.x = x
        self.tokens = x[self.where]
        self.item = self.where.nonzero()[:, 0]
        if len(self.item):
            log_score = score_fn(x, sigma)[self.where]  # [M, V]
            self.log_score = log_score if log_score.dtype == torch.float64 else log_score.float()

    def redraw(self, probs: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.x.masked_scatter(self.where, draw_categorical(probs, generator))


def analytic_step(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    x: Tensor,
    t: Tensor,
    step_size: float,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Step x [B, L] from times t [B] to t - step_size by the Tweedie denoiser (Lou et al. 2024)."""
    sigma = noise.sigma(t)
    at = _Positions(score_fn, graph, x, sigma, keep)
    if not len(at.item):
        return x
    dsigma = (sigma - noise.sigma(t - step_size))[at.item]
    probs = analytic_probs(graph, at.log_score, at.tokens, dsigma)
    return at.redraw(_sharpen_moves(probs, at.tokens, temperature, top_p), generator)


def euler_step(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    x: Tensor,
    t: Tensor,
    step_size: float,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Step x [B, L] from times t [B] to t - step_size along the reversed rates."""
    at = _Positions(score_fn, graph, x, noise.sigma(t), keep)
    if not len(at.item):
        return x
    dsigma = (noise.rate(t) * step_size)[at.item]
    probs = euler_probs(graph, at.log_score, at.tokens, dsigma)
    return at.redraw(_sharpen_moves(probs, at.tokens, temperature, top_p), generator)


def denoise_step(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    x: Tensor,
    t: Tensor,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Remove the noise left in x [B, L] at times t [B]; no mask remains."""
    sigma = noise.sigma(t)
    at = _Positions(score_fn, graph, x, sigma, keep)
    if not len(at.item):
        return x
    probs = denoise_probs(graph, at.log_score, at.tokens, sigma[at.item])
    return at.redraw(sharpen(probs, temperature, top_p), generator)


Predictor = Callable[..., Tensor]  # analytic_step or euler_step


def time_grid(steps: int, eps: float = 1e-5, start: float = 1.0) -> tuple[Tensor, float]:
    """Give steps + 1 even times from start down to eps, and the distance between them."""
    return torch.linspace(start, eps, steps + 1), (start - eps) / steps


@torch.no_grad()
def sample(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    shape: tuple[int, int] | None = None,
    *,
    steps: int = 128,
    predictor: Predictor = analytic_step,
    denoise: bool = True,
    temperature: float = 1.0,
    top_p: float = 1.0,
    given: Tensor | None = None,
    keep: Tensor | None = None,
    x_init: Tensor | None = None,
    start: float = 1.0,
    eps: float = 1e-5,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample tokens [B, L] by `steps` reverse steps and a final denoising (Lou et al. 2024).

    Where keep [B, L] is true the tokens are those of given [B, L]. x_init [B, L], tokens already
    noised to time start, replaces the draw from the limit. Without denoise masks may remain.
    """
    _check_numbers(steps=steps, temperature=temperature, top_p=top_p)
    if not 0 < eps < start <= 1:
        raise ValueError(f"expected 0 < eps < start <= 1, got eps {eps} and start {start}")
    x = _begin(graph, shape, given, keep, x_init, generator, device)
    times, step_size = time_grid(steps, eps, start)
    options = dict(temperature=temperature, top_p=top_p, keep=keep, generator=generator)
    for step, t in enumerate(times[:-1].to(x.device)):
        x = predictor(score_fn, graph, noise, x, t.expand(len(x)), step_size, **options)
        if on_step:
            on_step(step + 1, steps)
    if denoise:
        x = denoise_step(
            score_fn, graph, noise, x, times[-1].to(x.device).expand(len(x)), **options
        )
    return x


@torch.no_grad()
def first_hitting(
    score_fn: ScoreFn,
    graph: Graph,
    noise: Noise,
    shape: tuple[int, int] | None = None,
    *,
    tokens_per_call: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    given: Tensor | None = None,
    keep: Tensor | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample tokens [B, L] by jumping from one unmasking to the next (Zheng et al. 2024,
    arXiv:2409.02908, algorithm 1).

    Exact for an absorbing graph with one network call for each token. With tokens_per_call > 1
    that many are unmasked from one call, which is faster and approximate.
    """
    if not isinstance(graph, Absorb):
        raise ValueError(f"first_hitting needs an Absorb graph, got {graph}; use sample instead")
    _check_numbers(tokens_per_call=tokens_per_call, temperature=temperature, top_p=top_p)
    x = _begin(graph, shape, given, keep, None, generator, device)
    left = _open(graph, x, keep).sum(1)  # [B]
    total = -(-int(left.max()) // tokens_per_call)
    t = torch.ones(len(x), dtype=torch.float64, device=x.device)
    log_masked = torch.log(-torch.expm1(-noise.sigma(t)))  # [B], of the chance to be masked
    for call in range(total):
        hits, log_masked = _hitting_noise(log_masked, left, tokens_per_call, generator)
        x = _unmask(score_fn, graph, x, hits, tokens_per_call, keep, temperature, top_p, generator)
        left = (left - tokens_per_call).clamp(min=0)
        if on_step:
            on_step(call + 1, total)
    return x


def _hitting_noise(
    log_masked: Tensor, left: Tensor, count: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Draw the next `count` unmaskings of each item that has `left` [B] masks.

    Gives sigma [B] at the first of them, and the log masked fraction [B] at the last. The largest
    of n uniform times left is the previous one times u^(1 / n).
    """
    uniform = torch.rand(
        len(left), count, dtype=torch.float64, device=left.device, generator=generator
    )
    remaining = left[:, None] - torch.arange(count, device=left.device)  # [B, count]
    steps = torch.where(remaining > 0, uniform.log() / remaining.clamp(min=1), 0)
    first = log_masked + steps[:, 0]
    tiny = torch.finfo(torch.float64).tiny
    sigma = -torch.log1p(-first.exp().clamp(min=tiny, max=1 - 1e-15))
    return sigma, log_masked + steps.sum(1)


def _unmask(
    score_fn: ScoreFn,
    graph: Absorb,
    x: Tensor,
    sigma: Tensor,
    count: int,
    keep: Tensor | None,
    temperature: float,
    top_p: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Draw up to `count` tokens of x [B, L], at masks chosen at random, at noise sigma [B]."""
    order = torch.rand(x.shape, dtype=torch.float64, device=x.device, generator=generator)
    order = order.masked_fill(~_open(graph, x, keep), -1)
    chosen, index = order.topk(min(count, x.shape[1]), dim=1)  # [B, count]
    item, column = (chosen >= 0).nonzero(as_tuple=True)
    position = index[item, column]
    log_score = score_fn(x, sigma.float())[item, position, : graph.codebook_size]  # [M, V - 1]
    probs = torch.softmax(log_score.double(), -1)
    x = x.clone()
    x[item, position] = draw_categorical(sharpen(probs, temperature, top_p), generator)
    return x


def _open(graph: Graph, x: Tensor, keep: Tensor | None) -> Tensor:
    return graph.movable(x) if keep is None else graph.movable(x) & ~keep


def _begin(
    graph: Graph,
    shape: tuple[int, int] | None,
    given: Tensor | None,
    keep: Tensor | None,
    x_init: Tensor | None,
    generator: torch.Generator | None,
    device: torch.device | str | None,
) -> Tensor:
    """Check the arguments and set up the tokens [B, L] to start from."""
    if (given is None) != (keep is None):
        raise ValueError("given tokens and the keep mask belong together: pass both or neither")
    known = {"given": given, "keep": keep, "x_init": x_init}
    for name, value in known.items():
        if value is None:
            continue
        shape = tuple(shape or value.shape)
        if tuple(value.shape) != shape:
            raise ValueError(f"{name} must have the shape {shape}, got {tuple(value.shape)}")
        device = device or value.device
    if shape is None or len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be (batch, length), both at least 1, got {shape}")
    if keep is not None and keep.dtype != torch.bool:
        raise ValueError(f"keep must be a mask of booleans, got {keep.dtype}; pass keep.bool()")
    x = graph.sample_limit(shape, generator, device) if x_init is None else x_init
    graph.check(x)
    if keep is None:
        return x
    kept = given[keep]
    if kept.numel() and not 0 <= int(kept.min()) <= int(kept.max()) < graph.codebook_size:
        raise ValueError(
            f"given tokens must be from 0 to {graph.codebook_size - 1} where kept, got "
            f"{int(kept.min())} to {int(kept.max())}; leave what is unknown out of keep"
        )
    return torch.where(keep, given, x)


def _check_numbers(temperature: float, top_p: float, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; 1 leaves the law as is")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}; 1 keeps every token")
