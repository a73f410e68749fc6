"""Planted copies are found, other music is not."""

import math

import pytest
import torch

from metrics.copying import nearest_passage, notes_of
from metrics.musicality import RATE


def tune(seed, notes=40, semitones=0):
    """Notes of 0.25 s, drawn from a scale."""
    draw = torch.Generator().manual_seed(seed)
    scale = torch.tensor([0, 2, 4, 5, 7, 9, 11, 12])
    pitches = scale[torch.randint(len(scale), (notes,), generator=draw)] + semitones
    time = torch.arange(RATE // 4) / RATE
    parts = [torch.sin(2 * math.pi * 262 * 2 ** (p / 12) * time) for p in pitches.tolist()]
    return torch.cat(parts) * 0.3


TRACKS = [(f"track {seed}", notes_of(tune(seed))) for seed in range(3)]


def test_a_copy_is_found_where_it_was_taken_from():
    clip = notes_of(tune(1)[3 * RATE : 7 * RATE])
    found = nearest_passage(clip, TRACKS)
    assert (found.track, found.semitones) == ("track 1", 0)
    assert found.seconds == pytest.approx(3, abs=0.1) and found.score > 0.97


@pytest.mark.parametrize("semitones", [-3, 5])
def test_a_transposed_and_noisy_copy_is_found(semitones):
    clip = tune(2, semitones=semitones)[2 * RATE : 6 * RATE]
    noise = 0.02 * torch.randn(len(clip), generator=torch.Generator().manual_seed(0))
    found = nearest_passage(notes_of(0.1 * clip + noise), TRACKS)
    assert found.track == "track 2" and found.score > 0.8
    assert -found.semitones == semitones
    assert nearest_passage(notes_of(clip), TRACKS, transposed=False).score < found.score - 0.2


def test_another_tune_fits_nowhere_that_well():
    assert nearest_passage(notes_of(tune(7)[: 4 * RATE]), TRACKS).score < 0.8
