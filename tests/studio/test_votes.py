"""Listening tests: what is random, what is kept, and the interval."""

import csv
import math
from collections import Counter

import pytest
import torch

from audio.files import probe, write
from foundation.errors import UserError
from music_diffusion.studio.library import Library
from music_diffusion.studio.listening import Listening, volumes
from music_diffusion.studio.votes import ListeningTests, harmless, result, wilson

A, B = [f"runs/a/{i}.wav" for i in range(4)], [f"runs/b/{i}.wav" for i in range(4)]


def begun(folder, kind="pairs", count=8, seed=0, clips=(A, B)):
    tests = ListeningTests(folder)
    return tests, tests.start(kind, ("runs/a", "runs/b"), clips, count, "ann", seed)


def test_pairs_are_of_one_name_on_random_sides(tmp_path):
    orders = set()
    for seed in range(8):
        _, test = begun(tmp_path, seed=seed)
        for trial in test.trials:
            assert len({clip.rpartition("/")[2] for clip in trial.clips}) == 1
            assert [clip[5] for clip in trial.clips] == ["ab"[source] for source in trial.sources]
        assert Counter(trial.sources for trial in test.trials) == {(0, 1): 4, (1, 0): 4}
        assert Counter(trial.clips[0][7] for trial in test.trials) == dict.fromkeys("0123", 2)
        orders.add(tuple(trial.clips for trial in test.trials))
    assert len(orders) > 4


def test_without_common_names_any_are_paired_and_all_are_heard(tmp_path):
    other = [f"runs/b/x{i}.wav" for i in range(3)]
    _, test = begun(tmp_path, clips=(A, other), count=4)
    heard = {clip for trial in test.trials for clip in trial.clips}
    assert heard == {*A, *other}


def test_ratings_hear_both_as_often(tmp_path):
    _, test = begun(tmp_path, kind="ratings")
    assert Counter(trial.sources for trial in test.trials) == {(0,): 4, (1,): 4}


def test_votes_are_written_once_and_counted_by_source(tmp_path):
    tests, test = begun(tmp_path, count=5)
    for number, trial in enumerate(test.trials):
        choice = "none" if number == 4 else ("left", "right")[trial.sources.index(0)]
        for _ in range(2):  # a click that is sent twice
            tests.vote(test.name, number, choice)
    found = result(test)
    assert [source["wins"] for source in found["sources"]] == [4, 0] and found["ties"] == 1
    assert (found["low"], found["high"]) == wilson(4, 4)
    rows = list(csv.DictReader((tmp_path / f"{test.name}.csv").open()))
    assert [row["chosen"] for row in rows] == ["runs/a"] * 4 + [""]
    assert [row["trial"] for row in rows] == list("12345")
    assert {row["user"] for row in rows} == {"ann"}


def test_ratings_have_a_mean_and_an_interval(tmp_path):
    tests, test = begun(tmp_path, kind="ratings", count=8)
    for number, trial in enumerate(test.trials):
        tests.vote(test.name, number, "45"[number % 2] if trial.sources == (0,) else "1")
    first, second = result(test)["sources"]
    assert 4 <= first["low"] <= first["mean"] <= first["high"] <= 5
    assert (second["mean"], second["low"], second["high"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("choice", ["", "both", "6", "left;rm"])
def test_other_answers_are_refused(tmp_path, choice):
    tests, test = begun(tmp_path)
    with pytest.raises(UserError):
        tests.vote(test.name, 0, choice)
    with pytest.raises(UserError):
        tests.vote("0" * 16, 0, "left")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (5, 10, 0.2366, 0.7634)],
)
def test_wilsons_interval(successes, trials, low, high):
    """Its ends are where the score test is on its edge."""
    found = wilson(successes, trials)
    assert found == pytest.approx((low, high), abs=5e-4)
    for end in found:
        if 1e-9 < end < 1 - 1e-9:
            error = abs(successes / trials - end) / math.sqrt(end * (1 - end) / trials)
            assert error == pytest.approx(1.959964, abs=1e-4)


def test_wilsons_interval_covers():
    """Simulated: a share of 0.3 lies in it 95 % of the time."""
    draws = torch.rand(2000, 20, generator=torch.Generator().manual_seed(0)) < 0.3
    inside = [low <= 0.3 <= high for low, high in (wilson(int(d.sum()), 20) for d in draws)]
    assert 0.93 < sum(inside) / len(inside) < 0.98


def test_a_spreadsheet_runs_nothing():
    assert harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert harmless("runs/a") == "runs/a"


def test_clips_of_different_lengths_end_together_and_neither_is_told_by_its_kind(tmp_path):
    for name, seconds in (("a", 0.3), ("b", 0.1)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write(tmp_path / "runs" / name / "0.wav", torch.full((1, int(8000 * seconds)), 0.1), 8000)
    library = Library.of(tmp_path, [tmp_path / "runs"])
    listening = Listening(library, None)  # type: ignore[arg-type]
    name = listening.plan("pairs", ("runs/a", "runs/b"), (None, None), 2, "")
    assert listening.state(name)["cut"] == pytest.approx(0.1)
    heard = [listening.clip(name, 0, side) for side in (0, 1)]
    assert [probe(path).num_samples for path in heard] == [800, 800]
    assert len({path.parent for path in heard}) == 1
    listening.tests.vote(name, 0, "left")
    listening.clip(name, 1, 0)
    assert not heard[0].exists()  # nothing piles up
    assert not [one for one in library.audio_folders() if "votes" in one]


def test_what_is_heard_is_as_loud_and_shows_no_name(tmp_path):
    for name, loud in (("a", 0.1), ("b", 0.4)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        write(tmp_path / "runs" / name / "0.wav", torch.full((1, 800), loud), 8000)
    library = Library.of(tmp_path, [tmp_path / "runs"])
    listening = Listening(library, None)  # type: ignore[arg-type]
    name = listening.plan("pairs", ("runs/a", "runs/b"), (None, None), 2, "")
    state = listening.state(name)
    assert state["cut"] is None
    assert sorted(clip["volume"] for clip in state["clips"]) == [0.25, 1.0]
    assert "runs" not in str(state) and "0.wav" not in str(state)
    assert listening.clip(name, 0, 1).name == "0.wav"
    for trial, side in ((1, 0), (0, 2), (-1, 0), (0, -1)):
        with pytest.raises(UserError):
            listening.clip(name, trial, side)
    with pytest.raises(UserError, match="different"):
        listening.plan("pairs", ("runs/a", "runs/a"), (None, None), 2, "")
    assert volumes([tmp_path / "runs" / "a" / "0.wav"]) == [1.0]
