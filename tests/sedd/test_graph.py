"""The forward processes, score entropy and noise schedules."""

import pytest
import torch

from sedd.graph import Absorb, Graph, Uniform, draw_categorical, jumps_to_limit
from sedd.hybrid import Hybrid
from sedd.noise import Geometric, LogLinear

GRAPHS = [Absorb(5), Uniform(5), Hybrid(5, uniform=0.3)]
graphs = pytest.mark.parametrize("graph", GRAPHS, ids=repr)
noises = pytest.mark.parametrize("noise", [LogLinear(), Geometric()], ids=repr)


def true_log_score(graph: Graph, x: torch.Tensor, x0: torch.Tensor, sigma: torch.Tensor):
    """Log ratios [B, L, V] when all data is x0."""
    law = graph.transition(x0, sigma).double()
    return (law / law.gather(-1, x[..., None])).log()


@noises
def test_rate_is_the_derivative_of_sigma(noise):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64, requires_grad=True)
    (rate,) = torch.autograd.grad(noise.sigma(t).sum(), t)
    torch.testing.assert_close(noise.rate(t), rate)


@pytest.mark.parametrize("make", [lambda: LogLinear(0), lambda: Geometric(2.0, 1.0)])
def test_a_senseless_noise_is_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


@graphs
def test_rows_sum_to_one_and_rates_to_zero(graph):
    x = torch.arange(graph.dim)[None]
    law = graph.transition(x, torch.tensor([0.7]))[0]
    torch.testing.assert_close(law.sum(-1), torch.ones(graph.dim))
    torch.testing.assert_close(graph.transp_transition(x, torch.tensor([0.7]))[0], law.T)
    torch.testing.assert_close(graph.rate(x)[0].sum(-1), torch.zeros(graph.dim))
    torch.testing.assert_close(graph.transp_rate(x)[0], graph.rate(x)[0].T)


@graphs
def test_transition_is_the_exponential_of_the_rate(graph):
    x, sigma = torch.arange(graph.dim)[None], torch.tensor([0.7])
    assert jumps_to_limit(graph)
    law = torch.linalg.matrix_exp(0.7 * graph.rate(x)[0])
    torch.testing.assert_close(graph.transition(x, sigma)[0], law)


@graphs
def test_staggered_score_is_the_law_before(graph):
    x, dsigma = torch.arange(graph.dim)[None], torch.tensor([0.3])
    law = torch.rand(graph.dim, dtype=torch.float64)
    later = law @ graph.transition(x, dsigma)[0].double()
    torch.testing.assert_close(graph.staggered_score(later[None, None], dsigma)[0, 0], law)


@graphs
def test_perturb_matches_transition_in_frequency(graph):
    tokens, sigma = torch.full((1, 40000), 3), torch.tensor([0.9])
    x = graph.perturb(tokens, sigma, torch.Generator().manual_seed(0))
    frequency = torch.bincount(x[0], minlength=graph.dim) / x.numel()
    law = graph.transition(tokens[:, :1], sigma)[0, 0]
    torch.testing.assert_close(frequency, law, atol=0.01, rtol=0)


@graphs
def test_perturb_follows_its_generator(graph):
    tokens, sigma = torch.zeros(2, 50, dtype=torch.int64), torch.tensor([0.5, 2.0])
    first, second = (
        graph.perturb(tokens, sigma, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second)


@graphs
def test_score_entropy_is_least_at_the_true_ratios(graph):
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randint(5, (3, 20), generator=generator)
    sigma = torch.tensor([0.05, 0.7, 3.0], dtype=torch.float64)
    x = graph.perturb(x0, sigma, generator)
    log_score = true_log_score(graph, x, x0, sigma).clamp(min=-50)
    best = graph.score_entropy(log_score, sigma, x, x0)
    torch.testing.assert_close(best, torch.zeros_like(best), atol=1e-5, rtol=0)
    wrong = graph.score_entropy(log_score + 0.3, sigma, x, x0)
    assert (wrong >= -1e-6).all() and wrong.sum() > 0


@graphs
def test_the_law_of_the_clean_token_gives_the_ratios_of_the_noisy_one(graph):
    clean = torch.tensor([0.5, 0.2, 0.1, 0.15, 0.05], dtype=torch.float64)
    x = torch.arange(graph.dim) if graph.movable(torch.zeros(1).long()) else torch.tensor([5])
    law = clean @ graph.transition(torch.arange(5), torch.full((5,), 0.7)).double()
    log_score = graph.score_of_clean(clean.log().expand(len(x), 5), x, torch.full((len(x),), 0.7))
    torch.testing.assert_close(log_score.exp(), law / law[x][:, None], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_a_hybrid_of_one_kind_alone_is_refused(uniform):
    with pytest.raises(ValueError, match="uniform must lie between 0 and 1, got"):
        Hybrid(5, uniform=uniform)


@graphs
def test_score_entropy_is_float32_for_half_precision_scores(graph):
    x0 = torch.randint(5, (2, 8))
    sigma = torch.tensor([0.3, 1.0])
    x = graph.perturb(x0, sigma)
    scores = torch.zeros(2, 8, graph.dim, dtype=torch.bfloat16)
    assert graph.score_entropy(scores, sigma, x, x0).dtype == torch.float32


def test_categorical_draws_have_the_given_frequencies():
    probs = torch.tensor([0.0, 1.0, 2.0, 5.0]).expand(40000, -1)
    drawn = draw_categorical(probs, torch.Generator().manual_seed(0))
    frequency = torch.bincount(drawn, minlength=4) / len(drawn)
    torch.testing.assert_close(frequency, probs[0] / 8, atol=0.01, rtol=0)
