"""The fast convolution gives what the plain one gives."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from metrics import winograd
from metrics.winograd import Conv3x3, prepare


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (5, 9), (16, 8), (31, 4)])
def test_the_fast_way_equals_the_plain_one(rows, columns, bias, monkeypatch):
    monkeypatch.setattr(winograd, "FEWEST", 1)
    monkeypatch.setattr(winograd, "AT_ONCE", 8 * 7)  # the batch is cut
    torch.manual_seed(0)
    conv, x = Conv3x3(7, 5, bias), torch.randn(3, 7, rows, columns)
    plain = conv2d(
        x.double(), conv.weight.double(), conv.bias.double() if bias else None, padding=1
    )
    prepare(nn.Sequential(conv))
    assert conv.transformed.shape == (36, 7, 5)
    for made in (conv(x), conv.fast(x)):
        torch.testing.assert_close(made.double(), plain, rtol=1e-5, atol=1e-5)


def test_small_maps_and_networks_not_prepared_take_the_plain_way(monkeypatch):
    conv = Conv3x3(winograd.FEWEST, 2)
    monkeypatch.setattr(Conv3x3, "fast", None)  # would fail if called
    conv(torch.zeros(1, winograd.FEWEST, 8, 8))
    conv.prepare()
    conv(torch.zeros(1, winograd.FEWEST, 3, 8))
    narrow = Conv3x3(winograd.FEWEST - 1, 2)
    narrow.prepare()
    assert narrow.transformed is None


def test_published_names_and_fingerprints_do_not_change():
    conv = Conv3x3(winograd.FEWEST, 2)
    conv.prepare()
    assert set(conv.state_dict()) == {"weight", "bias"}
