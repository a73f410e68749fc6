"""Samplers on laws whose true score is known."""

import itertools

import pytest
import torch

from foundation.errors import UserError
from sedd.confidence import ConfidenceOrder
from sedd.graph import Absorb, Graph, Uniform
from sedd.hybrid import Hybrid
from sedd.noise import Geometric, LogLinear
from sedd.remasking import ReMDM
from sedd.samplers import Analytic, Euler, FirstHitting, TokenSampler, time_grid, warp

# Two tokens of three values with a joint law in which they depend on each other.
JOINT = torch.tensor([[4.0, 1, 1], [1, 1, 6], [2, 3, 1]], dtype=torch.float64) / 20
PAIRS = torch.tensor(list(itertools.product(range(3), repeat=2)))  # [9, 2]
CASES = [
    (Absorb(3), LogLinear(), Analytic),
    (Absorb(3), LogLinear(), Euler),
    (Absorb(3), LogLinear(), FirstHitting),
    (Absorb(3), Geometric(), FirstHitting),
    (Uniform(3), Geometric(), Analytic),
    (Uniform(3), Geometric(), Euler),
    (Absorb(3), LogLinear(), ReMDM),
    (Absorb(3), Geometric(), ConfidenceOrder),
]
samplers = pytest.mark.parametrize("graph, noise, sampler", CASES, ids=repr)


def true_score(graph: Graph, data: torch.Tensor, weights: torch.Tensor):
    """Score function of the law that gives each row of data [N, L] its weight [N]."""

    def score_fn(grid: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        x = grid.flatten(1)  # codebooks and places are tokens alike
        repeated = data.repeat(len(x), 1)
        law = graph.transition(repeated, sigma.repeat_interleave(len(data)).double()).double()
        law = law.unflatten(0, (len(x), len(data)))  # [B, N, L, V], of x_t given each row
        here = law.gather(-1, x[:, None, :, None].expand(-1, len(data), -1, 1))[..., 0]
        rest = torch.stack(  # of the other tokens, [B, N, L]
            [
                here[..., [j for j in range(x.shape[1]) if j != i]].prod(-1)
                for i in range(x.shape[1])
            ],
            -1,
        )
        joint = torch.einsum("n,bnl,bnlv->blv", weights, rest, law)
        log_score = (joint / joint.gather(-1, x[..., None])).log()
        return log_score.view(*grid.shape, -1)

    return score_fn


def sample(sampler: TokenSampler, score_fn, graph, noise, shape, keep=None, prompt=None, **options):
    """Sample a grid [B, 1, L] of a shape (B, L), or what is not kept of a prompt [B, L]: [B, L]."""
    tokens = torch.zeros(shape, dtype=torch.long) if prompt is None else prompt
    keep = torch.zeros_like(tokens, dtype=torch.bool) if keep is None else keep
    return sampler.sample(score_fn, graph, noise, tokens[:, None], keep[:, None], **options)[:, 0]


def draw(graph, noise, sampler, count=6000, **options):
    generator = torch.Generator().manual_seed(0)
    score_fn = true_score(graph, PAIRS, JOINT.flatten())
    return sample(
        sampler(steps=60), score_fn, graph, noise, (count, 2), generator=generator, **options
    )


def uncalled(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    raise AssertionError("no network is needed to refuse this")


@samplers
def test_the_true_score_of_one_datum_returns_it(graph, noise, sampler):
    datum = torch.tensor([[2, 0, 1, 1]])
    score_fn = true_score(graph, datum, torch.ones(1, dtype=torch.float64))
    x = sample(sampler(steps=30), score_fn, graph, noise, (8, 4))
    assert torch.equal(x, datum.expand(8, 4))


@samplers
def test_kept_tokens_stay_and_condition_the_rest(graph, noise, sampler):
    prompt = torch.tensor([[1, 0]]).expand(3000, 2)
    keep = torch.tensor([[True, False]]).expand(3000, 2)
    generator = torch.Generator().manual_seed(0)
    score_fn = true_score(graph, PAIRS, JOINT.flatten())
    if isinstance(graph, Uniform):  # a clean token among noisy ones is none the score has seen
        score_fn = true_score(graph, torch.tensor([[1, 2]]), torch.ones(1, dtype=torch.float64))
    x = sample(sampler(steps=40), score_fn, graph, noise, None, keep, prompt, generator=generator)
    assert (x[:, 0] == 1).all()
    if isinstance(graph, Absorb):
        frequency = torch.bincount(x[:, 1], minlength=3) / len(x)
        torch.testing.assert_close(frequency.double(), JOINT[1] / JOINT[1].sum(), atol=0.03, rtol=0)


@samplers
def test_the_same_seed_gives_the_same_tokens(graph, noise, sampler):
    first, second = (draw(graph, noise, sampler, count=20) for _ in range(2))
    assert torch.equal(first, second)


@samplers
def test_nothing_happens_where_everything_is_kept(graph, noise, sampler):
    prompt = torch.tensor([[0, 1, 2]])
    keep = torch.ones_like(prompt, dtype=torch.bool)
    x = sample(sampler(steps=5), pytest.fail, graph, noise, None, keep, prompt)
    assert torch.equal(x, prompt)


@pytest.mark.parametrize("steps, calls", [(10, 10), (4, 4), (500, 10)])
def test_first_hitting_calls_the_network_once_a_token_at_most(steps, calls):
    made, seen = [], []

    def score_fn(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        made.append(sigma)
        return torch.zeros(*x.shape, 4)

    x = sample(
        FirstHitting(steps), score_fn, Absorb(3), LogLinear(), (5, 10),
        on_step=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert len(made) == calls and seen[-1] == (calls, calls)
    assert (torch.stack(made).diff(dim=0) <= 0).all()  # time runs back
    assert (x < 3).all()


def test_a_mask_never_remains_after_denoising_and_may_without():
    def reluctant(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return torch.tensor([-20.0, -20.0, -20.0, 0.0]).expand(*x.shape, 4)

    rest = reluctant, Absorb(3), LogLinear(), (2, 6)
    assert (sample(Analytic(3), *rest) < 3).all()
    assert (sample(Analytic(3, denoise=False), *rest) == 3).any()


def test_absorb_steps_only_look_at_masks():
    def score_fn(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        log_score = torch.zeros(*x.shape, 4)
        log_score[x != 3] = torch.nan
        return log_score

    assert (sample(Analytic(5), score_fn, Absorb(3), LogLinear(), (2, 6)) < 3).all()


def test_temperature_and_nucleus_move_the_target_and_not_the_pace():
    log_score = torch.tensor([[0.5, 0.3, 0.2, 1.0]]).log()
    x = torch.tensor([3])
    total = log_score[:, :3].exp().sum()
    cold = warp(log_score, x, 0.01, 1.0).exp()
    nucleus = warp(log_score, x, 1.0, 0.6).exp()
    for probs in (cold, nucleus):
        torch.testing.assert_close(probs[:, :3].sum(), total.double())
        assert probs[0, 3] == 1
    torch.testing.assert_close(cold[0, 0], total.double())
    assert (nucleus[0, :2] > 0).all() and nucleus[0, 2] == 0


def test_the_grid_runs_from_one_to_eps():
    times, step_size = time_grid(8, 1e-5)
    assert times[0] == 1 and times[-1] == 1e-5
    torch.testing.assert_close(-times.diff(), torch.full_like(times[1:], step_size))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(steps=0), "steps must be at least 1, got 0"),
        (dict(eps=2.0), "eps must lie between 0 and 1, got 2.0"),
        (dict(temperature=0.0), "temperature must be above 0"),
        (dict(top_p=0.0), "top_p in"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Analytic(**options)


@pytest.mark.parametrize(
    "sampler, options, message",
    [
        (ReMDM, dict(cap=1.5), "cap must be in .0, 1., got 1.5"),
        (ReMDM, dict(rescale=-1), "rescale must be in .0, 1., got -1"),
        (ReMDM, dict(loop=1.0), "loop must be in .0, 1. and loop_time between 0 and 1, got 1.0"),
        (ConfidenceOrder, dict(order_noise=-1), "order_noise must be at least 0, got -1"),
    ],
)
def test_senseless_options_of_a_sampler_are_refused(sampler, options, message):
    with pytest.raises(UserError, match=message):
        sampler(**options)


def test_a_loop_holds_the_time_for_its_share_of_the_steps():
    times = ReMDM(20, loop=0.5, loop_time=0.3).times()
    assert times[0] == 1 and times[-1] == 0 and times.count(0.3) == 11 and len(times) <= 21
    assert all(t >= s for t, s in zip(times, times[1:], strict=False))
    assert ReMDM(2, loop=0.9).times() == [1, 0.5, 0]


def test_only_in_its_loop_are_tokens_masked_again():
    def score_fn(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append((float(sigma[0]), int((x == 3).sum())))
        return torch.zeros(*x.shape, 4)

    seen: list[tuple[float, int]] = []
    rest = score_fn, Absorb(3), LogLinear(), (50, 40)
    sample(ReMDM(20, cap=0.5, loop=0.5, loop_time=0.3), *rest)
    held = [masks for sigma, masks in seen if abs(sigma - 0.3566) < 1e-3]
    assert len(held) == 11 and 450 < min(held) and max(held) < 750  # 0.3 of 2000 tokens
    before = [masks for sigma, masks in seen if sigma > 0.36]
    assert before == sorted(before, reverse=True)


@pytest.mark.parametrize("cosine", [False, True])
def test_cosine_times_fill_few_masks_first(cosine):
    def score_fn(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append(int((x == 3).sum()))
        ratio = -torch.log(3 * torch.expm1(sigma))[:, None, None, None]  # of an even law
        return ratio.expand(*x.shape, 4).scatter(-1, x[..., None], 0)

    seen: list[int] = []
    for sampler in (Analytic(5, cosine=cosine), ConfidenceOrder(5, cosine=cosine)):
        seen.clear()
        sample(sampler, score_fn, Absorb(3), LogLinear(), (200, 10))
        first = (2000 - seen[1]) / 2000
        assert (first < 0.12) if cosine else (0.15 < first < 0.25)


def test_a_codebook_cannot_wait_for_a_finer_one():
    with pytest.raises(UserError, match="coarse_first must be at least 0, got -1"):
        FirstHitting(coarse_first=-1)


@pytest.mark.parametrize(
    "tokens, keep, message",
    [
        (torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4).bool(), "batch, codebooks, length"),
        (torch.zeros(1, 1, 4, dtype=torch.long), torch.ones(1, 1, 4), "keep must be booleans"),
        (torch.full((1, 1, 4), 7), torch.ones(1, 1, 4).bool(), "from 0 to 2, got 7 to 7"),
    ],
)
def test_what_is_no_grid_of_codes_is_refused(tokens, keep, message):
    with pytest.raises(UserError, match=message):
        Analytic().sample(uncalled, Absorb(3), LogLinear(), tokens, keep)


@pytest.mark.parametrize("coarse_first", [0.5, 1.0])
def test_any_order_of_codebooks_draws_from_the_law(coarse_first):
    """Token by token every order is exact, also the finer codebook after the coarser."""
    score_fn = true_score(Absorb(3), PAIRS, JOINT.flatten())
    empty = torch.zeros(6000, 2, 1, dtype=torch.long)
    sampler = FirstHitting(coarse_first=coarse_first)
    generator, keep = torch.Generator().manual_seed(0), torch.zeros_like(empty, dtype=torch.bool)
    x = sampler.sample(score_fn, Absorb(3), LogLinear(), empty, keep, generator)[:, :, 0]
    counts = torch.bincount(3 * x[:, 0] + x[:, 1], minlength=9) / len(x)
    torch.testing.assert_close(counts, JOINT.flatten().float(), atol=0.02, rtol=0)


@pytest.mark.parametrize("coarse_first, mixed", [(0.0, True), (0.5, True), (1.0, False)])
def test_coarse_codebooks_come_first_and_what_is_kept_stays(coarse_first, mixed):
    seen = []

    def score_fn(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.append((x == 3).sum((0, 2)))
        return torch.zeros(*x.shape, 4)

    tokens = torch.full((2, 3, 20), 2)
    keep = torch.zeros_like(tokens, dtype=torch.bool)
    keep[0, 1, 5:9] = keep[..., :2] = True
    sampler = FirstHitting(steps=12, coarse_first=coarse_first)
    x = sampler.sample(score_fn, Absorb(3), LogLinear(), tokens, keep)
    assert (x[keep] == 2).all() and (x < 3).all()
    masks = torch.stack(seen).float()  # [calls, K]
    assert bool(((masks[:, 0] > 0) & (masks[:, 1] < masks[0, 1])).sum() > 1) == mixed
    order = masks.sum(0)
    assert mixed and coarse_first == 0 or order[0] < order[1] < order[2]


@pytest.mark.parametrize("sampler", [FirstHitting, ReMDM, ConfidenceOrder])
@pytest.mark.parametrize("graph", [Uniform(3), Hybrid(3)], ids=repr)
def test_what_fills_masks_needs_a_graph_that_only_masks(sampler, graph):
    with pytest.raises(UserError, match=f"{sampler.__name__} is for the absorbing graph only"):
        sampler().check(graph)


class HalfPace(Absorb):
    """Masks tokens at half the pace."""

    def transition(self, x, sigma):
        return super().transition(x, sigma / 2)


def test_first_hitting_refuses_a_graph_that_masks_at_another_pace():
    with pytest.raises(UserError, match="HalfPace masks another part"):
        FirstHitting().check(HalfPace(3))


@samplers
def test_a_clip_depends_on_its_own_generator_alone(graph, noise, sampler):
    score_fn = true_score(graph, PAIRS, JOINT.flatten())

    def clips(seeds):
        empty = torch.zeros(len(seeds), 1, 2, dtype=torch.long)
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        return sampler(steps=20).sample(score_fn, graph, noise, empty, empty.bool(), streams)

    assert torch.equal(clips(range(8))[5], clips([5])[0])
