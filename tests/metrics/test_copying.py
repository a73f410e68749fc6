"""Planted copies are found, other music is not."""

import math

import pytest
import torch

from metrics.control import excess, nearest_distance
from metrics.copying import nearest_passages
from metrics.notes import Notes, directions

RATE = Notes.sample_rate


def tune(seed, notes=40, semitones=0.0):
    """Notes of 0.25 s, each with two overtones, drawn from a scale."""
    draw = torch.Generator().manual_seed(seed)
    scale = torch.tensor([0, 2, 4, 5, 7, 9, 11, 12])
    pitches = scale[torch.randint(len(scale), (notes,), generator=draw)] + semitones
    phase = 2 * math.pi * 262 * torch.arange(RATE // 4) / RATE
    parts = [torch.sin(phase * 2 ** (p / 12)) for p in pitches.tolist()]
    return torch.cat(parts) * 0.3


def notes_of(*clips):
    vectors = Notes()(torch.stack(clips)[:, None], RATE)
    return directions(vectors.view(len(clips), -1, 12))


@pytest.fixture(scope="module")
def tracks():
    return [(f"track {seed}", notes_of(tune(seed))[0]) for seed in range(3)]


def noise(like, level):
    return level * torch.randn(len(like), generator=torch.Generator().manual_seed(0))


def test_a_copy_is_found_where_it_was_taken_from(tracks):
    clip = tune(1)[3 * RATE : 7 * RATE]
    (found,) = nearest_passages(notes_of(clip), tracks)
    assert (found.track, found.semitones) == ("track 1", 0) and found.score > 0.95
    assert found.seconds - found.clip_seconds == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("semitones", [-3, 5])
def test_a_transposed_and_noisy_copy_is_found(tracks, semitones):
    clip = tune(2, semitones=semitones)[2 * RATE : 6 * RATE]
    (found,) = nearest_passages(notes_of(0.1 * clip + noise(clip, 0.02)), tracks)
    assert (found.track, found.semitones) == ("track 2", semitones) and found.score > 0.8


def test_three_seconds_inside_ten_are_found_and_other_tunes_fit_nowhere_that_well(tracks):
    others = [tune(seed) for seed in range(7, 15)]
    planted = others[0].clone()
    planted[round(4.3 * RATE) : round(7.3 * RATE)] = tune(0)[RATE : 4 * RATE]
    found, *rest = nearest_passages(notes_of(planted, *others), tracks)
    assert found.track == "track 0" and found.score > 0.95
    assert found.seconds - found.clip_seconds == pytest.approx(1 - 4.3, abs=0.15)
    assert max(one.score for one in rest) < 0.8


def test_scores_are_correlations_over_all_shifts_and_turns(tracks):
    """The sums in the spectrum of pitch classes are those that roll them."""
    clip, track = notes_of(tune(5)[: 3 * RATE])[:, :, :27], tracks[0][1]
    piece = (clip - clip.mean(-1, keepdim=True))[0]
    windows = track.unfold(-1, 27, 1).transpose(0, 1)
    windows = windows - windows.mean(-1, keepdim=True)
    turned = torch.stack([piece.roll(-turn, 0) for turn in range(12)])
    scale = windows.square().sum((1, 2)).sqrt() * piece.norm()
    expected = torch.einsum("tcn,wcn->wt", turned, windows) / scale[:, None]
    (found,) = nearest_passages(clip, tracks[:1])
    assert found.score == pytest.approx(float(expected.max()), abs=1e-4)


def test_a_held_chord_is_no_copy_of_another():
    held = torch.sin(2 * math.pi * 262 * torch.arange(8 * RATE) / RATE)
    (found,) = nearest_passages(notes_of(held + noise(held, 1e-3)), [("it", notes_of(held)[0])])
    assert found.score < 0.5


def test_clips_and_tracks_that_are_short(tracks):
    short = notes_of(tune(1)[: 2 * RATE])
    (found,) = nearest_passages(short, [("shorter", tracks[0][1][:, :9]), *tracks])
    assert found.track == "track 1" and found.score > 0.9


def test_copies_exceed_the_control():
    draw = torch.Generator().manual_seed(0)
    control, honest = torch.rand(200, generator=draw), torch.rand(200, generator=draw)
    fair, copied = (
        excess(honest, control),
        excess(torch.cat([honest[:100], honest[:100] + 1]), control),
    )
    assert fair.rate < 0.05 and fair.nearer == pytest.approx(0.5, abs=0.06)
    assert copied.rate == pytest.approx(0.5, abs=0.05) and copied.nearer > 0.7
    assert 0.95 < fair.threshold <= control.max()


def test_the_nearest_vector_is_found_in_units_of_deviation():
    training = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0)) * 10
    clips = torch.stack([training[5:8] + 1, training[10:13]])
    found = nearest_distance(clips, training)
    assert found[1] < 1e-3 < found[0] <= (1 / training.std(0)).norm() + 1e-3
