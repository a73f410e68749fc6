"""The score network and its attention."""

import math

import pytest
import torch

from foundation import attention
from foundation.attention import Rotary, attend, rotate
from sedd.ddit import DDiT


def tiny(**options) -> DDiT:
    torch.manual_seed(0)
    net = DDiT(11, hidden_size=32, num_blocks=2, num_heads=2, cond_dim=16, **options)
    for weight in net.parameters():  # the zeros of a fresh network hide what a test looks for
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
    return net.eval()


X = torch.randint(11, (3, 1, 9), generator=torch.Generator().manual_seed(0))
SIGMA = torch.tensor([0.1, 1.0, 5.0])


def test_a_fresh_network_gives_the_same_ratio_to_every_other_state():
    net = DDiT(11, 1, 32, 2, 2, 16).eval()
    offset = torch.log(torch.expm1(SIGMA)) + math.log(10)
    expected = -offset[:, None, None, None].expand(3, 1, 9, 11).scatter(-1, X[..., None], 0)
    torch.testing.assert_close(net(X, SIGMA), expected)


@pytest.mark.parametrize("scale_by_sigma", [True, False])
def test_the_current_token_has_log_score_zero(scale_by_sigma):
    log_score = tiny(scale_by_sigma=scale_by_sigma)(X, SIGMA)
    assert log_score.shape == (3, 1, 9, 11)
    assert (log_score.gather(-1, X[..., None]) == 0).all()


def test_scores_are_float32_under_autocast_and_in_bfloat16():
    net = tiny()
    exact = net(X, SIGMA)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(X, SIGMA)
    assert mixed.dtype == net.bfloat16()(X, SIGMA).dtype == torch.float32
    torch.testing.assert_close(mixed, exact, atol=0.2, rtol=0.05)


def test_activation_checkpoints_leave_the_gradients_alone():
    gradients = []
    for checkpointed in (False, True):
        net = tiny(dropout=0.0, checkpoint_activations=checkpointed).train()
        net(X, SIGMA).square().mean().backward()
        gradients.append([weight.grad for weight in net.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_attention_sees_only_relative_positions():
    q, k = torch.randn(2, 1, 1, 1, 8)
    angles = Rotary(8)(torch.zeros(1, 20))
    q, k = (rotate(x.expand(1, 20, 1, 8), angles)[0, :, 0] for x in (q, k))
    products = q @ k.T
    torch.testing.assert_close(products[3, 5], products[13, 15])
    assert (products[3, 5] - products[3, 9]).abs() > 1e-4


def test_attention_is_the_softmax_average():
    q, k, v = torch.randn(3, 2, 7, 2, 8)
    weights = torch.einsum("bqhd,bkhd->bhqk", q, k).div(math.sqrt(8)).softmax(-1)
    torch.testing.assert_close(attend(q, k, v), torch.einsum("bhqk,bkhd->bqhd", weights, v))


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="auto, sdpa, flash, got 'fast'"):
        tiny(attention="fast")


def test_flash_is_refused_where_it_cannot_run(monkeypatch):
    monkeypatch.setattr(attention, "flash_attn_func", None)
    with pytest.raises(ValueError, match="flash-attn package"):
        tiny(attention="flash")
    monkeypatch.setattr(attention, "flash_attn_func", lambda q, k, v: v)
    with pytest.raises(ValueError, match="CUDA"):
        tiny(attention="flash")(X, SIGMA)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="multiple of 2 \\* num_heads = 6, got 32"):
        DDiT(11, hidden_size=32, num_heads=3)


def test_codebooks_are_told_apart_and_a_codebook_of_one_is_the_plain_network():
    net = tiny(num_codebooks=2)
    x = torch.stack([X[:, 0], X[:, 0].flip(-1)], dim=1)
    log_score = net(x, SIGMA)
    assert log_score.shape == (3, 2, 9, 11)
    assert not torch.allclose(net(x.flip(1), SIGMA).flip(1), log_score, atol=1e-3)
    one, two = tiny(), tiny(num_codebooks=2)
    state = two.state_dict()  # the second codebook adds nothing, the first is the other network's
    for name, value in one.state_dict().items():
        if state[name].shape == value.shape:
            state[name] = value
        else:
            state[name][: len(value)] = value
            if "embed" in name:
                state[name][len(value) :] = 0
    two.load_state_dict(state)
    torch.testing.assert_close(two(x, SIGMA)[:, :1], one(x[:, :1], SIGMA))
