"""The network of level 3."""

import pytest
import torch

from foundation.errors import UserError
from jbdiff.latent_transformer import LatentDiT
from jbdiff.velocity_net import drop_context, velocity


def small(context_length=24, **options):
    torch.manual_seed(0)
    sizes = {"channels": 6, "hidden_size": 16, "num_blocks": 2, "num_heads": 2, "cond_dim": 8}
    net = LatentDiT(context_length, **sizes, near=5, **options)
    for parameter in net.parameters():  # what starts from zeros would hide mistakes
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


def test_it_takes_windows_of_any_length_and_contexts_of_one():
    net = small()
    context = torch.randn(2, 6, 24)
    for length in (1, 7, 32):
        assert velocity(net, torch.randn(2, 6, length), torch.rand(2), context).shape == (
            2,
            6,
            length,
        )


@pytest.mark.parametrize("place", [0, 10, 18, 19, 23])
def test_it_reads_every_latent_of_the_context(place):
    net = small()
    x, t, context = torch.randn(1, 6, 8), torch.rand(1), torch.randn(1, 6, 24)
    before = velocity(net, x, t, context)
    context[..., place] += 1
    assert not torch.allclose(velocity(net, x, t, context), before)


def test_the_null_context_is_learned_and_the_same_for_all():
    net = small()
    contexts = torch.randn(3, 6, 24)
    dropped = drop_context(net, contexts, 1.0)
    torch.testing.assert_close(dropped[0], dropped[2])
    velocity(net, torch.randn(3, 6, 8), torch.rand(3), dropped).sum().backward()
    assert net.context_in.null.grad.abs().sum() > 0


def test_examples_do_not_mix():
    net = small()
    x, t, context = torch.randn(2, 6, 9), torch.rand(2), torch.randn(2, 6, 24)
    alone = velocity(net, x[:1], t[:1], context[:1])
    torch.testing.assert_close(velocity(net, x, t, context)[:1], alone)


def test_wrong_sizes_are_told():
    with pytest.raises(UserError, match="hidden_size"):
        LatentDiT(hidden_size=30, num_heads=4)
    with pytest.raises(UserError, match="kernel must be odd"):
        LatentDiT(kernel=4)
