"""Scores while a model trains."""

import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from audio import files as audio
from audio.segments import spread_segments
from callbacks.ema import EMA
from callbacks.fad import FAD, make_or_replace
from callbacks.reference_clips import validation_files
from foundation.errors import UserError
from metrics.logmel import LogMel
from metrics.vggish import VGGish
from tests.callbacks.toy import Toy, fit

SHORT = {"embedding": "logmel", "num_clips": 4, "seconds": 2.5}


class Noise(Toy):
    """A toy whose samples fade as it trains, beside real noise."""

    def demo(self, batch, num_demos, num_samples, generator):
        noise = super().demo(batch, num_demos, num_samples, generator)["noise"]
        slow = noise.cumsum(-1) / 30
        return {"sample": noise + self.weight[0] * slow, "real": slow[:1]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def music(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number in range(3):
        noise = torch.rand(1, 24000, generator=generator) - 0.5
        audio.write(tmp_path / f"music/{number}.wav", noise, 8000)
    return str(tmp_path / "music")


def logged(callback: FAD) -> list[str]:
    return sorted(callback.history[-1])


def test_scores_are_logged_kept_and_drawn(tmp_path, music):
    callback = FAD(reference=music, num_demos=1, **SHORT)
    module = fit(tmp_path / "run", [callback], 9, Noise())
    assert [row["step"] for row in callback.history] == [4, 8]
    names = ["fad/logmel", "fad/logmel_floor", "kad/logmel", "kad/logmel_floor"]
    assert logged(callback) == [*names, "step", "val/loss"]
    assert set(names) <= set(module.trainer.callback_metrics)
    lines = (tmp_path / "run/fad.csv").read_text().splitlines()
    assert len(lines) == 3 and "fad/logmel" in lines[0]
    assert (tmp_path / "run/fad.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run/demos/step_00000008/sample_0.wav").is_file()
    assert not (tmp_path / "run/demos/step_00000008/sample_1.wav").exists()


def test_the_first_measurement_says_what_it_makes(tmp_path, music, caplog):
    caplog.set_level(logging.INFO)
    fit(tmp_path, [FAD(reference=music, **SHORT)], 9, Noise())
    said = [line for line in caplog.messages if "makes 4 clips of up to 2.5 s" in line]
    assert len(said) == 1 and said[0].endswith("for logmel")


def test_the_same_weights_score_the_same(tmp_path, music):
    scores = []
    for number in range(2):
        torch.manual_seed(number)
        callback = FAD(reference=music, **SHORT)
        fit(tmp_path / str(number), [callback], 5, Noise())
        scores.append(callback.history)
    assert scores[0] == scores[1]


def test_averaged_weights_are_scored(tmp_path, music):
    module = Noise()
    fit(tmp_path, [EMA(decay=0.9), FAD(reference=music, **SHORT)], 5, module)
    assert not torch.equal(module.demo_weights[-1], module.trajectory[3])


def test_training_draws_the_same_with_and_without(tmp_path, music):
    draws = []
    without: list[Callback] = []
    for callbacks in (without, [*without, FAD(reference=music, **SHORT)]):
        torch.manual_seed(0)
        draws.append(fit(tmp_path, callbacks, 9, Noise()).draws[::3])
    assert draws[0] == draws[1]


def test_it_can_be_a_monitor(tmp_path, music):
    best = ModelCheckpoint(tmp_path / "best", monitor="fad/logmel", filename="best")
    fit(tmp_path, [FAD(reference=music, **SHORT), best], 9, Noise())
    assert best.best_model_score is not None and (tmp_path / "best/best.ckpt").is_file()


def test_a_failure_is_a_warning(tmp_path, music, caplog):
    callback = FAD(reference=music, **SHORT)
    module = fit(tmp_path, [callback], 5, Noise(demo_error=RuntimeError("no sound")))
    assert module.global_step == 5 and not callback.history
    assert "FAD at step 4 failed: RuntimeError: no sound" in caplog.text


def test_a_model_without_samples_is_a_warning(tmp_path, music, caplog):
    fit(tmp_path, [FAD(reference=music, **SHORT)], 5, Toy())
    assert "none is a 'sample'" in caplog.text


def test_missing_weights_mean_a_spectral_distance(tmp_path, music, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callback = FAD(reference=music, num_clips=4, seconds=2.5)
    fit(tmp_path / "run", [callback], 5, Noise())
    assert "fad/logmel" in callback.history[0]
    assert "download_ckpts.py musicnn" in caplog.text and "spectral distance" in caplog.text


def test_missing_weights_at_a_path_that_was_given_are_a_mistake(tmp_path):
    callback = FAD(embedding=partial(VGGish, tmp_path / "nowhere.pth"))
    with pytest.raises(UserError, match="no weights at .*nowhere.pth"):
        fit(tmp_path / "run", [callback], 5, Noise())


@pytest.mark.parametrize("name", ["logmel", "LogMel", "metrics.logmel.LogMel"])
def test_yaml_names_the_embedding(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(FAD, "fad")
    parsed = parser.parse_object({"fad": {"embedding": name}})
    assert isinstance(make_or_replace(parser.instantiate(parsed).fad.embedding), LogMel)
    again = parser.parse_string(parser.dump(parsed))  # as a run's config.yaml
    assert isinstance(make_or_replace(parser.instantiate(again).fad.embedding), LogMel)
    settings = {"class_path": "VGGish", "init_args": {"path": None}}
    options = parser.instantiate(parser.parse_object({"fad": {"embedding": settings}}))
    assert callable(options.fad.embedding)


def test_without_a_folder_real_music_is_the_reference(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    callback = FAD(**SHORT)
    fit(tmp_path, [callback], 9, Noise())
    assert "after the model's codec" in caplog.text
    assert len(callback.history) == 2
    assert not any(name.endswith("_floor") for row in callback.history for name in row)


def test_every_n_steps_thins_and_resuming_goes_on(tmp_path, music):
    callback = FAD(reference=music, every_n_steps=6, **SHORT)
    keep = ModelCheckpoint(tmp_path, save_last=True)
    fit(tmp_path, [callback, keep], 9, Noise())
    assert [row["step"] for row in callback.history] == [8]
    again = FAD(reference=music, every_n_steps=6, **SHORT)
    fit(tmp_path, [again], 17, Noise(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert [row["step"] for row in again.history] == [8, 16]


def test_mistakes_are_found_at_the_start(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(tmp_path, [FAD(reference=str(tmp_path / "nowhere"), **SHORT)], 5, Noise())
    with pytest.raises(ValueError, match="unknown embedding 'mfcc'"):
        fit(tmp_path, [FAD(embedding="mfcc")], 5, Noise())
    with pytest.raises(ValueError, match="num_clips"):
        FAD(num_clips=1)


def test_validation_tracks_are_found(music, tmp_path):
    (tmp_path / "0.npy").touch()  # where a token store's track lies
    tracks = [SimpleNamespace(path=tmp_path / "0.npy", name="0.wav")]
    data = SimpleNamespace(val_tracks=tracks, audio=music)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert validation_files(trainer) == []
    trainer.datamodule = data  # pyright: ignore[reportAttributeAccessIssue]
    assert validation_files(trainer) == [Path(music) / "0.wav"]
    data.audio, data.source = None, lambda: Path(music)
    assert validation_files(trainer) == [Path(music) / "0.wav"]  # as with the demo music


def test_spread_segments_are_spread_over_all_files_and_stay_inside(tmp_path):
    for number, length in enumerate((100, 900, 30)):
        audio.write(tmp_path / f"{number}.wav", torch.full((2, length), number / 10), 8000, "FLOAT")
    found = list(spread_segments(audio.find(tmp_path), 8000, 50, 10, range(10)))
    assert [part.samples.shape for part in found] == [(1, 50)] * 10
    levels = [round(part.samples.mean().item(), 2) for part in found]
    assert levels == [0.0] + [0.1] * 9
    (last,) = spread_segments(audio.find(tmp_path), 8000, 50, 40, [39])
    assert (last.path.name, last.start) == ("2.wav", 0)
    assert last.samples.shape == (1, 30) and last.samples.mean().item() == pytest.approx(0.2)


class Coder(torch.nn.Module):
    """A codec that makes everything the same tone, and counts."""

    sample_rate = 8000

    def __init__(self):
        super().__init__()
        self.lengths: list[int] = []

    def encode(self, samples):
        self.lengths.append(samples.shape[-1])
        return samples

    def decode(self, tokens):
        return torch.sin(torch.arange(tokens.shape[-1] + 7) * 0.3)[None, None]

    def check_decoded(self, audio, tokens):
        return audio


def test_the_floor_is_validation_music_after_the_codec_in_clips_like_the_generated(
    tmp_path, music, monkeypatch
):
    codec = Coder()
    monkeypatch.setattr(Noise, "codec", codec, raising=False)
    real = "callbacks.fad.validation_files"
    monkeypatch.setattr(real, lambda trainer: audio.find(music))
    callback = FAD(**SHORT)
    fit(tmp_path / "run", [callback], 9, Noise())
    assert codec.lengths == [20000] * 4  # once, though two validations scored
    first, second = (row["fad/logmel_floor"] for row in callback.history)
    assert first == second > 0


def test_short_clips_are_looped(tmp_path, music, caplog):
    caplog.set_level(logging.INFO)
    callback = FAD(reference=music, embedding="logmel", num_clips=4, seconds=0.4)
    fit(tmp_path, [callback], 9, Noise())
    assert len(callback.history) == 2 and caplog.text.count("are repeated") == 1


class Broken(Noise):
    """Fails on one process alone, at the first validation."""

    def demo(self, batch, num_demos, num_samples, generator):
        if self.global_rank == 1 and self.global_step == 2:
            raise RuntimeError("no sound")
        return super().demo(batch, num_demos, num_samples, generator)


@pytest.mark.slow
def test_two_processes_score_together_and_fail_together(tmp_path, music, kept_port):
    options = {"devices": 2, "strategy": "ddp_spawn"}  # two steps an epoch for each
    callback = FAD(reference=music, num_demos=1, **SHORT)
    fit(tmp_path / "run", [callback], 5, Broken(), **options)
    head, *rows = (tmp_path / "run/fad.csv").read_text().splitlines()
    assert [float(row.split(",")[0]) for row in rows] == [4] and "kad/logmel_floor" in head
    assert len(list((tmp_path / "run/demos").rglob("sample_*.wav"))) == 1
