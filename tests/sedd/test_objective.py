"""Score entropy as an objective: what it is of a known law, over any number of codebooks."""

import math

import pytest
import torch
from torch import Tensor

from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph, Uniform
from sedd.hybrid import Hybrid
from sedd.noise import Geometric, LogLinear
from sedd.objective import ScoreEntropy, Subs
from sedd.score_net import Conditioned, ScoreNet, scores_at

OBJECTIVE = ScoreEntropy(Absorb(3), LogLinear())


def uniform_law(x: Tensor, sigma: Tensor) -> Tensor:
    """True log scores [B, K, L, 4] of independent tokens, each of three values alike often."""
    ratio = -torch.log(3 * torch.expm1(sigma))[:, None, None, None]
    return ratio.expand(*x.shape, 4).scatter(-1, x[..., None], 0)


@pytest.mark.parametrize("codebooks", [1, 3])
def test_the_true_score_reaches_the_entropy_of_the_law(codebooks):
    """Averaged over times the bound is tight: log 3 nats per token, whatever the codebooks."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, (4000, codebooks, 8), generator=generator)
    times = 1e-3 + (1 - 1e-3) * (torch.arange(4000) + 0.5) / 4000
    losses = OBJECTIVE.losses(uniform_law, tokens, times, generator)
    assert losses.shape == (4000,) and losses.mean().item() == pytest.approx(math.log(3), abs=0.03)


def test_losses_follow_the_generator_and_score_functions_are_the_networks():
    tokens, times = torch.zeros(2, 1, 50, dtype=torch.long), torch.tensor([0.2, 0.8])
    first, again = (
        OBJECTIVE.losses(uniform_law, tokens, times, torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert OBJECTIVE.log_score(uniform_law) is uniform_law


K, N, L = 3, 10, 9
X0 = torch.randint(N, (3, K, L), generator=torch.Generator().manual_seed(1))
TIMES = torch.tensor([0.2, 0.6, 0.9])
GRAPHS = [Absorb(N), Uniform(N), Hybrid(N, 0.3)]
graphs = pytest.mark.parametrize("graph", GRAPHS, ids=repr)


def network(graph: Graph, **options) -> DDiT:
    torch.manual_seed(0)
    masks = isinstance(graph, Absorb)
    net = DDiT(graph.dim, K, 32, 1, 2, 16, dropout=0.0, scale_by_sigma=masks, **options)
    for weight in net.parameters():  # the zeros of a fresh network hide what a test looks for
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
    return net


class Plain(ScoreNet):
    """A network without a way of its own to compute a few tokens."""

    def __init__(self, net: DDiT):
        super().__init__()
        self.net = net

    def forward(self, x, sigma, cond=None):
        return self.net(x, sigma, cond)


@graphs
@pytest.mark.parametrize("noise", [LogLinear(), Geometric()], ids=repr)
def test_subs_is_the_score_entropy_of_its_scores_and_so_are_its_gradients(graph, noise):
    objective = Subs(graph, noise)

    def loss(wrap, entropy: bool) -> list[Tensor | None]:
        net, generator = network(graph, conv=3), torch.Generator().manual_seed(3)
        if entropy:
            scores = objective.log_score(wrap(net))
            losses = ScoreEntropy(graph, noise).losses(scores, X0, TIMES, generator)
        else:
            losses = objective.losses(wrap(net), X0, TIMES, generator)
        losses.mean().backward()
        return [losses.detach(), *(weight.grad for weight in net.parameters())]

    plain = loss(lambda net: lambda x, sigma: net(x, sigma), entropy=True)
    for wrap in (Conditioned, lambda net: Conditioned(Plain(net)), lambda net: net):
        torch.testing.assert_close(loss(wrap, False), plain, atol=2e-5, rtol=1e-3)


def test_subs_weighs_the_cross_entropy_of_masks_by_the_schedule():
    """1 / t for the linear schedule (Sahoo et al. 2024, eq. 11); clean tokens cost nothing."""

    def half(x: Tensor, sigma: Tensor) -> Tensor:  # logits: token 0 has half of the probability
        logits = torch.zeros(*x.shape, N + 1)
        logits[..., 0], logits[..., N] = math.log(N - 1), 50.0  # the mask's is ignored
        return logits

    zeros = torch.zeros_like(X0)
    losses = Subs(Absorb(N), LogLinear(1e-6)).losses(half, zeros, TIMES, torch.Generator())
    x_t = Absorb(N).perturb(zeros, LogLinear(1e-6).sigma(TIMES), torch.Generator())
    expected = (x_t == N).flatten(1).float().mean(1) * math.log(2) / TIMES
    torch.testing.assert_close(losses, expected)


@graphs
def test_the_scores_of_some_tokens_are_those_that_they_have_among_all(graph):
    scores, sigma = Subs(graph, LogLinear()).log_score(Conditioned(network(graph))), TIMES
    x = graph.perturb(X0, sigma, torch.Generator().manual_seed(2))
    where = graph.movable(x) & (torch.arange(L) % 2 == 0)
    expected = scores(x, sigma)[where]
    torch.testing.assert_close(scores_at(scores, x, sigma, where), expected)
    assert not expected.gather(-1, x[where][:, None]).any()  # a token's ratio to itself is 1


def test_the_scores_of_a_mask_are_a_law_over_the_codebook():
    scores = Subs(Absorb(N), LogLinear()).log_score(Conditioned(network(Absorb(N))))
    x = torch.full_like(X0, N)
    total = scores(x, TIMES)[..., :-1].exp().sum(-1) * torch.expm1(TIMES)[:, None, None]
    torch.testing.assert_close(total, torch.ones(total.shape))


@graphs
def test_the_true_law_reaches_its_entropy(graph):
    """Independent tokens of entropy log 2: the bound is tight over all times, for every graph."""
    logits = torch.full((graph.dim,), -30.0)
    logits[:2] = 0.0
    tokens = torch.randint(2, (3000, 1, 8), generator=torch.Generator().manual_seed(0))
    times = 1e-3 + (1 - 1e-3) * (torch.arange(3000) + 0.5) / 3000
    law = lambda x, sigma: logits.expand(*x.shape, -1)  # noqa: E731
    objective = Subs(graph, Geometric(1e-4, 8.0))
    losses = objective.losses(law, tokens, times, torch.Generator().manual_seed(1))
    assert losses.mean().item() == pytest.approx(math.log(2), abs=0.05)


class HalfPace(Absorb):
    """Masks tokens at half the pace."""

    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super().transition(x, sigma / 2)


def test_a_graph_of_another_pace_is_refused():
    with pytest.raises(UserError, match="HalfPace does otherwise: use ScoreEntropy"):
        Subs(HalfPace(3), LogLinear())
