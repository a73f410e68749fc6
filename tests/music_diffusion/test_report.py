"""`report`: all measures in one file, for a folder and for a run."""

import json
from pathlib import Path

import pytest
import torch

from audio import files as audio
from metrics.musicality import RATE
from music_diffusion.commands import main as cli
from music_diffusion.commands.report import embeddings
from music_diffusion.report.clips import cut, generated_files
from music_diffusion.report.page import figure
from music_diffusion.report.summary import summary
from music_diffusion.report.verdict import copies_verdict, verdict

SECONDS = 4


def tune(seed: int) -> torch.Tensor:
    """A melody of quarter seconds in a little noise, [1, T]."""
    draw = torch.Generator().manual_seed(seed)
    pitches = torch.randint(12, (4 * SECONDS,), generator=draw).tolist()
    phase = 2 * torch.pi * 262 * torch.arange(RATE // 4) / RATE
    notes = torch.cat([torch.sin(phase * 2 ** (p / 12)) for p in pitches])
    return (0.3 * notes + 0.01 * torch.randn(len(notes), generator=draw))[None]


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Tunes to train on, others held out, and generated ones of which two are copies."""
    root = tmp_path_factory.mktemp("report")
    for name, seeds in {"training": range(4), "real": range(10, 18), "made": range(20, 25)}.items():
        for seed in seeds:
            audio.write(root / name / f"{seed}.wav", tune(seed), RATE)
    for seed in (1, 2):
        audio.write(root / "made" / f"copy_{seed}.wav", 0.5 * tune(seed), RATE)
    return root


@pytest.fixture(scope="module")
def found(music) -> dict:
    """What a report of the generated tunes holds."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(music / "cache"))
    patch.setattr("music_diffusion.report.page.SHOWN", 2)
    folders = {name: str(music / name) for name in ("made", "real", "training")}
    options = ["--reference", folders["real"], "--training", folders["training"], "--device", "cpu"]
    assert cli.main(["report", folders["made"], "--embedding", "logmel", *options]) == 0
    patch.undo()
    return json.loads((music / "made_report" / "report.json").read_text())


def test_the_summary_has_key_figures_and_a_verdict(found):
    lines = summary(found)
    names = [" ".join(line.split("  ")[0].split()) for line in lines]
    assert "kernel distance, logmel" in names and "tonal peak" in names
    assert lines[-1].startswith("2 of 7 clips are nearer to the training music than 99 % of")


def test_the_verdict_tells_noise_farther_music_and_copies(found):
    near = {"kad": 1.0, "kad_margin": 0.5}
    made = {name: {"generated": 0.1} for name in ("tonal_peak", "beat_clarity")}
    for kad, expected in ((1.8, "doesn't tell the clips"), (2.5, "they are farther")):
        far = {"one": {"generated": {"kad": kad, "kad_margin": 0.4}, "held_out": near}}
        first, second = verdict({"distances": far, "traits": {"generated": made}})
        assert first.startswith("noise rather") and expected in second
    none = {key: {"rate": 0.0} for key in ("notes", "sound")}
    assert copies_verdict(none, 9).startswith("no sign of copies: none of 9")


def test_a_report_holds_all_measures_of_both_sides(found):
    assert found["generated"]["clips"] == 7 and found["reference"]["clips"] == 4
    for side in ("generated", "held_out"):
        assert found["distances"]["logmel"][side]["kad"] < 50
        assert {"tempo", "key_clarity", "loudness", "tonal_peak"} <= found["traits"][side].keys()
        assert 0 <= found["pitch_class_divergence"][side] < 0.3


def test_copies_are_named_with_their_places(found):
    copying = found["memorisation"]
    assert copying["notes"]["rate"] == pytest.approx(2 / 7)
    assert copying["notes"]["nearer"] > 0.4 and copying["control_clips"] == 8
    assert copying["in_key"] >= 2 / 7 and 0 <= copying["control_in_key"] <= 1
    copies = sorted(copying["passages"], key=lambda one: -one["score"])[:2]
    assert {Path(one["track"]).name for one in copies} == {"1.wav", "2.wav"}
    assert all(one["seconds"] == pytest.approx(one["clip_seconds"], abs=0.1) for one in copies)


def test_the_page_plays_the_nearest_passages_beside_their_clips(found, music):
    page = (music / "made_report" / "index.html").read_text()
    assert page.count("<audio") == 4 and page.count("<table>") == 3
    assert all(line.replace("'", "&#x27;") in page for line in verdict(found))
    assert "1.00 (above the control" in page and "copy_1.wav at" in page
    pair = [audio.read(music / f"made_report/passages/00_{n}.flac") for n in ("clip", "training")]
    torch.testing.assert_close(2 * pair[0], pair[1], atol=0.02, rtol=0)  # the copy is half as loud


def test_of_a_run_the_newest_samples_count_and_pages_of_folders_do_not(tmp_path):
    for name in ("demos/step_00000100/sample_0", "demos/step_00000200/sample_0", "other/a"):
        audio.write(tmp_path / f"{name}.wav", torch.zeros(1, RATE), RATE)
    for name in ("demos/step_00000200/real_0", "demos/reference/real_0", "other/index_files/b"):
        audio.write(tmp_path / f"{name}.wav", torch.zeros(1, RATE), RATE)
    (newest,) = generated_files(tmp_path)
    assert newest.parent.name == "step_00000200"
    assert [path.name for path in generated_files(tmp_path / "other")] == ["a.wav"]


def test_clips_are_spread_over_a_long_file_and_short_ones_are_left_out(tmp_path):
    audio.write(tmp_path / "long.wav", torch.linspace(-1, 1, 10 * RATE)[None], RATE)
    audio.write(tmp_path / "short.wav", torch.zeros(1, RATE), RATE)
    clips = cut(audio.find(tmp_path), 2.0, 4)
    assert clips.audio.shape == (4, 2 * RATE) or clips.notes
    assert clips.starts == sorted(clips.starts) and clips.seconds == 2


def test_missing_weights_are_a_line_and_leave_the_measure_without_any(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    (left,) = embeddings("musicnn")
    assert left.name == "logmel"
    assert "get them with python download_ckpts.py musicnn" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere", "--reference", "real"], "no such folder or audio file: nowhere"),
        (["made"], "REFERENCE"),
        (["made", "--reference", "real", "--seconds", "-1"], "seconds must be positive"),
        (["made", "--reference", "real", "--num_clips", "1"], "num_clips"),
        (["made", "--reference", "real", "--seconds", "20"], "holds 0 clips of 20.00 s"),
        (
            ["made", "--reference", "training", "--training", "training", "--embedding", "logmel"],
            "all of the reference is among the training music",
        ),
    ],
)
def test_mistakes_are_a_line_and_status_2(music, options, message, monkeypatch, capsys):
    monkeypatch.chdir(music)
    monkeypatch.setenv("XDG_CACHE_HOME", str(music / "cache"))
    assert cli.main(["report", *options]) == 2
    assert message in capsys.readouterr().err


def test_large_figures_have_no_exponent_and_few_digits():
    values = {"fad": 4943.2, "fad_margin": 2021.0, "kad": 0.0774}
    assert figure(values, "fad", "fad_margin") == "4,940 ± 2,000"
    assert figure(values, "kad") == "0.0774" and figure(values, "other") == "–"
