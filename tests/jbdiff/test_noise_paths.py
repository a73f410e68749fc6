"""Noise from window to window: always of unit power, and as far apart as the style says."""

from itertools import islice

import pytest
import torch

from jbdiff.noise_paths import STYLES, base_noise, noise_path

SHAPE = (1, 4, 5000)


def path(style: str, step_size: float = 0.3, count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.stack(list(islice(noise_path(SHAPE, style, step_size, seed), count)))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).mean() / (a.std() * b.std()))


@pytest.mark.parametrize("style", STYLES)
def test_noise_is_gaussian_of_unit_power_in_every_window(style):
    torch.testing.assert_close(path(style).flatten(1).std(1), torch.ones(6), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "style, first, later",  # correlation of the windows 0 and 1, and of 0 and 5
    [
        ("random", 0, 0),
        ("constant", 1, 1),
        ("region", 0.91**0.5, 0.91**0.5),
        ("walk", 0.91**0.5, 0.91**2.5),
    ],
)
def test_windows_are_as_alike_as_the_style_says(style, first, later):
    noise = path(style)
    assert correlation(noise[0], noise[1]) == pytest.approx(first, abs=0.03)
    assert correlation(noise[0], noise[5]) == pytest.approx(later, abs=0.03)


@pytest.mark.parametrize("style", ["region", "walk"])
def test_step_0_is_constant_and_1_is_new(style):
    still, new = path(style, 0.0), path(style, 1.0)
    assert torch.equal(still[0], still[5])
    assert abs(correlation(new[0], new[5])) < 0.03


@pytest.mark.parametrize("style", STYLES)
def test_the_seed_decides(style):
    assert torch.equal(path(style), path(style))
    assert not torch.equal(path(style), path(style, seed=1))


@pytest.mark.parametrize("style", STYLES)
def test_base_noise_has_its_count_of_windows(style):
    noise = list(base_noise(8, 16, 3, style, 0.5, seed=1))
    assert [window.shape for window in noise] == [(1, 8, 16)] * 3


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="constant or region or walk, got 'pink'"):
        next(noise_path(SHAPE, "pink"))
    with pytest.raises(ValueError, match="noise_step_size must be between 0 and 1, got 1.5"):
        next(noise_path(SHAPE, "walk", 1.5))
