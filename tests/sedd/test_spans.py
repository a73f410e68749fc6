"""Masks in spans: as many as single ones, and all in one stretch of positions."""

from functools import partial

import pytest
import torch

from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.graph import Absorb, Uniform, check_masks
from sedd.module import SEDD
from sedd.objective import Subs
from sedd.spans import SpanAbsorb, with_spans
from tests.datamodules.test_token_store import Coarse

NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8, dropout=0.0)
TOKENS = torch.zeros(3000, 2, 40, dtype=torch.long)


def masks(share: float, sigma: float = 0.4, seed: int = 0) -> torch.Tensor:
    """Whether each of TOKENS is masked at a noise: a third of them at 0.4."""
    noise = torch.full((len(TOKENS),), sigma)
    draw = torch.Generator().manual_seed(seed)
    return SpanAbsorb(5, share).perturb(TOKENS, noise, draw) == 5


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_every_token_is_masked_as_often_as_by_the_plain_graph(share):
    expected = torch.full((2, 40), 1 - 0.67032)
    torch.testing.assert_close(masks(share).float().mean(0), expected, atol=0.035, rtol=0)
    check_masks(SpanAbsorb(5, share), "a sampler", "")


def test_masks_of_an_example_lie_in_one_span_that_may_go_round_the_end():
    """Of the widest gap between masks, round the end, much is left where a third is masked."""
    hit = masks(1.0).any(1)  # [B, L]
    twice = torch.cat([hit, hit], 1)
    away = torch.zeros(len(hit), dtype=torch.long)
    longest = away.clone()
    for place in twice.unbind(1):
        away = torch.where(place, 0, away + 1)
        longest = torch.maximum(longest, away)
    share = longest.clamp(max=40).float() / 40
    single = 1 - (1 - 0.33) ** 2  # both codebooks of a position are masked on their own
    assert float((share > 0.3).float().mean()) > 0.4 and float(hit.float().mean()) < single
    assert torch.equal(masks(1.0), masks(1.0)) and not torch.equal(masks(1.0), masks(1.0, seed=1))


def test_no_noise_masks_nothing_and_much_masks_all():
    assert not masks(1.0, sigma=0.0).any() and masks(1.0, sigma=50.0).all()


def test_spans_are_of_training_alone():
    model = SEDD(Coarse(), net=NET, objective=Subs, length=16, spans=0.8)
    plain = SEDD(Coarse(), net=NET, objective=Subs, length=16)
    torch.nn.init.normal_(dict(model.net.named_parameters())["output_layer.linear.weight"])
    plain.load_state_dict(model.state_dict())
    batch, times = {"tokens": torch.randint(8, (6, 1, 16))}, torch.linspace(0.1, 0.9, 6)

    def losses(of: SEDD) -> torch.Tensor:
        return of.losses(batch, times, torch.Generator().manual_seed(0))

    assert not torch.equal(losses(model.train()), losses(plain.train()))
    assert torch.equal(losses(model.eval()), losses(plain.eval()))


def test_other_graphs_and_shares_are_refused():
    with pytest.raises(UserError, match="spans are for sedd.graph.Absorb, the graph is Uniform"):
        with_spans(Uniform(5), 0.5)
    with pytest.raises(UserError, match="share of span masks must be in .0, 1., got 1.5"):
        SEDD(Coarse(), net=NET, spans=1.5)
    assert with_spans(Absorb(5), 0.5) == SpanAbsorb(5, 0.5)
