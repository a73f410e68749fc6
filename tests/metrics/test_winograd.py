"""The fast convolution gives what the plain one gives."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from metrics import winograd
from metrics.winograd import Conv3x3, prepare


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (5, 9), (16, 8), (31, 4), (15, 2), (1, 1)])
def test_the_fast_way_equals_the_plain_one(rows, columns, bias, monkeypatch):
    monkeypatch.setattr(winograd, "MIN_CHANNELS", (1, 1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(winograd, "TILES", 2)  # the batch is cut, and the rows
    torch.manual_seed(0)
    conv, x = Conv3x3(7, 5, bias), torch.randn(6, 7, rows, columns)
    shift = None if conv.bias is None else conv.bias.double()
    plain = conv2d(x.double(), conv.weight.double(), shift, padding=1)
    prepare(nn.Sequential(conv))
    assert conv.transformed is not None and conv.transformed.shape == (36, 7, 5)
    for made in (conv(x), conv.fast(x), conv.as_product(x)):
        torch.testing.assert_close(made.double(), plain, rtol=1e-5, atol=1e-5)


def test_each_map_takes_the_way_that_pays(monkeypatch):
    taken = []
    for way in ("fast", "as_product"):
        monkeypatch.setattr(Conv3x3, way, lambda self, x, way=way: taken.append(way) or x)
    before, after = winograd.MIN_CHANNELS
    conv, narrow = Conv3x3(before, after), Conv3x3(before, after - 1)
    wide = torch.zeros(1, before, 8, 8)
    conv(wide)  # not prepared
    prepare(nn.Sequential(conv, narrow))
    narrow(wide)
    assert taken == [] and narrow.transformed is None
    conv(wide)
    conv(wide[..., :3])
    assert taken == ["fast", "as_product"]


def test_published_names_and_fingerprints_do_not_change():
    conv = Conv3x3(*winograd.MIN_CHANNELS)
    conv.prepare()
    assert conv.transformed is not None
    assert set(conv.state_dict()) == {"weight", "bias"}
