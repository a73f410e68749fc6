"""Griffin-Lim finds the sound again, and pieces are the whole."""

import math

import pytest
import torch

from audio.griffin_lim import Frames, griffin_lim, reach
from foundation.errors import UserError
from foundation.pieces import split

SMALL = Frames(256, 64)


def sine(frequency: float, count: int, rate: int = 8000) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency * torch.arange(count) / rate)[None]


def test_a_sine_has_a_peak_of_its_amplitude_at_its_frequency():
    bin_width = 8000 / SMALL.size
    magnitudes = SMALL.magnitudes(sine(20 * bin_width, 6400))
    assert magnitudes.shape == (1, SMALL.bins, 100)
    assert magnitudes[0, :, 50].argmax() == 20
    torch.testing.assert_close(magnitudes[0, 20, 5:-5].max(), torch.tensor(0.5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("frequency", [440.0, 1237.0, 3000.0])
def test_a_sine_is_found_again_at_its_frequency(frequency):
    audio = griffin_lim(SMALL.magnitudes(sine(frequency, 16384)), SMALL, iterations=32)
    spectrum = torch.fft.rfft(audio[0] * torch.hann_window(16384)).abs()
    found = spectrum.argmax().item() * 8000 / 16384
    assert abs(found - frequency) < 0.1 * 8000 / SMALL.size  # a tenth of a frame's bin
    near = spectrum[max(0, spectrum.argmax() - 60) : spectrum.argmax() + 60]
    assert near.square().sum() > 0.95 * spectrum.square().sum()


def test_more_iterations_come_nearer():
    noise = torch.rand(1, 8192, generator=torch.Generator().manual_seed(0)) - 0.5
    wanted = SMALL.magnitudes(noise)

    def error(iterations: int) -> float:
        found = SMALL.magnitudes(griffin_lim(wanted, SMALL, iterations))
        return float((found - wanted).norm() / wanted.norm())

    assert error(32) < error(8) < error(0)


def test_pieces_are_the_whole():
    wanted = torch.rand(2, SMALL.bins, 150, generator=torch.Generator().manual_seed(0))
    whole = griffin_lim(wanted, SMALL, iterations=4, seed=3)
    parts = []
    for piece in split(150, 40, reach(SMALL, 4)):
        part = griffin_lim(wanted[..., piece.taken], SMALL, 4, seed=3, first=piece.first)
        kept = piece.kept()
        parts.append(part[:, kept.start * SMALL.hop : kept.stop * SMALL.hop])
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole, atol=1e-4, rtol=0)


def test_an_item_does_not_depend_on_its_batch():
    wanted = torch.rand(3, SMALL.bins, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(griffin_lim(wanted, SMALL)[1:2], griffin_lim(wanted[1:2], SMALL))


def test_seeds_differ_and_repeat():
    wanted = torch.rand(1, SMALL.bins, 20)
    first, again = griffin_lim(wanted, SMALL, seed=1), griffin_lim(wanted, SMALL, seed=1)
    assert torch.equal(first, again)
    assert not torch.allclose(first, griffin_lim(wanted, SMALL, seed=2))


def test_silence_stays_silent():
    assert not griffin_lim(torch.zeros(1, SMALL.bins, 8), SMALL).any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="whole hops"):
        Frames(256, 100)
    with pytest.raises(UserError, match="129 bins, got 128"):
        griffin_lim(torch.zeros(1, 128, 8), SMALL)
