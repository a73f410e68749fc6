"""What is asked for is counted as heard where it is, and by chance where it isn't."""

import math
from argparse import Namespace
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from audio import files as audio_files
from benchmarks import control
from benchmarks.control_questions import Key, Label, Tag, Tempo, agreement, related
from benchmarks.heard import Classifier, Heard
from datamodules.metadata import Sidecar
from foundation.audio_module import AudioModel
from foundation.conditions import Conditions
from foundation.musical_key import KEYS
from metrics.describe import TAGS, Describer
from metrics.musicality import RATE

LABELS = ("piano", "strings", "brass")


def vectors(labels, noise=0.5):
    """A direction for each label, and noise."""
    draw = torch.Generator().manual_seed(len(labels))
    places = torch.tensor([LABELS.index(label) for label in labels])
    return torch.randn(len(labels), 20, generator=draw) * noise + 3 * torch.eye(20)[places]


def heard(labels, tempo=(), key=(), piano=()):
    """Clips that sound like this."""
    count = len(labels)
    tags = torch.zeros(count, len(TAGS))
    tags[:, TAGS.index("piano")] = torch.tensor(piano or [0.0] * count)
    keys = [KEYS.index(name) if name else -1 for name in key or [""] * count]
    return Heard(
        vectors(labels), tags, torch.tensor(tempo or [math.nan] * count), torch.tensor(keys)
    )


@pytest.fixture(scope="module")
def label():
    taught = [LABELS[0]] * 90 + [LABELS[1]] * 30 + [LABELS[2]] * 20
    return Label("group", list(LABELS), Classifier(vectors(taught), taught))


def test_a_model_that_obeys_agrees_and_one_that_plays_its_own_agrees_by_chance(label):
    asked = list(LABELS) * 8
    obeyed = agreement(label, heard(asked), asked)
    assert obeyed.agreeing == obeyed.count == 24 and obeyed.chance == pytest.approx(1 / 3)
    ignored = agreement(label, heard(["piano"] * 24), asked)
    assert ignored.agreeing == 8 and ignored.chance == pytest.approx(1 / 3)
    one = agreement(label, heard(["piano"] * 24), asked, "piano")
    assert (one.agreeing, one.count, one.chance) == (8, 8, 1)
    assert str(obeyed).startswith("1.00 (0.86 to 1.00) of 24")


def test_tags_agree_where_what_was_asked_for_has_more_of_it():
    tag = Tag("tags", ["piano=1", "piano=0"])
    asked, piano = ["piano=1"] * 4 + ["piano=0"] * 4, [0.2, 0.3, 0.4, 0.1, 0.0, 0.05, 0.06, 0.15]
    found = agreement(tag, heard(["piano"] * 8, piano=piano), asked)
    assert (found.agreeing, found.chance) == (6, 0.5)
    numbers, own = tag.more_or_less(heard(["piano"] * 8, piano=piano))
    assert (
        numbers == [*range(8)]
        and agreement(tag, heard(["piano"] * 8, piano=piano), own).agreeing == 8
    )


def test_tempi_agree_within_4_percent_and_silence_never():
    tempo = Tempo("tempo", ["120"])
    clips = heard(["piano"] * 5, tempo=[120.0, 124.0, 126.0, 60.5, math.nan])
    asked = ["120"] * 5
    assert tempo.agree(clips, asked).tolist() == [True, True, False, False, False]
    assert tempo.looser().agree(clips, asked).tolist() == [True, True, False, True, False]


def test_keys_agree_and_looser_those_that_share_most_notes():
    key = Key("key", ["A minor"])
    clips = heard(["piano"] * 4, key=["A minor", "C major", "D# minor", ""])
    assert key.agree(clips, ["Am"] * 4).tolist() == [True, False, False, False]
    assert key.looser().agree(clips, ["Am"] * 4).tolist() == [True, True, False, False]
    near = [name for i, name in enumerate(KEYS) if related(i, KEYS.index("C major"))]
    assert sorted(near) == ["A minor", "C major", "C minor", "F major", "G major"]
    near = [name for i, name in enumerate(KEYS) if related(i, KEYS.index("A minor"))]
    assert sorted(near) == ["A major", "A minor", "C major", "D minor", "E minor"]


class Toy(SimpleNamespace):
    """Plays high or low tones as it is asked, and at guidance 0 low ones."""

    conditions = Conditions(["group=high", "group=low"])
    sample_rate, sampler = RATE, None
    codec = SimpleNamespace(sample_rate=RATE, encode=lambda x: x, decode=lambda x: x)

    def generate(self, seconds, *, count, cond, sampler, seed):
        high = cond is not None and cond.labels == {"group": "high"}
        return tone(high, seconds).expand(count, 1, -1)


def tone(high, seconds):
    return torch.sin(torch.arange(round(seconds * RATE)) * (0.5 if high else 0.05))


def hear_tones(_, audio, sample_rate):
    """Stand in for musicnn: how often a clip changes its sign."""
    turns = (audio.diff().sign().diff() != 0).double().mean((1, 2))
    nothing = torch.full((len(audio),), math.nan)
    return Heard(turns[:, None].float(), torch.zeros(len(audio), len(TAGS)), nothing, nothing)


def test_the_table_says_that_a_toy_obeys(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(control, "hear", hear_tones)
    for name in ("high", "low"):
        audio_files.write(tmp_path / name / "a.wav", tone(name == "high", 2)[None], RATE)
        audio_files.write(tmp_path / name / "b.wav", tone(name == "high", 2)[None], RATE)
    (tmp_path / "tracks.csv").write_text(
        "track,group\nhigh/a.wav,high\nhigh/b.wav,high\nlow/a.wav,low\nlow/b.wav,low\n"
    )
    real = control.RealMusic.read(str(tmp_path), Sidecar.read(tmp_path / "tracks.csv"), 1, 8)
    options = Namespace(
        labels=["group"], tags=[], guidances=[2.0], num_clips=6, seconds=1.0, steps=None, out=None,
        tempo_column="tempo", key_column="key",
    )  # fmt: skip
    control.judge(cast("AudioModel", Toy()), real, real, cast("Describer", None), options)
    row = next(line for line in capsys.readouterr().out.splitlines() if "**group**" in line)
    shares = [cell.split()[0] for cell in row.split("|")[2:7]]
    assert shares == ["0.50", "1.00", "1.00", "0.50", "1.00"]
