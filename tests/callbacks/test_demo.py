import logging
import math
import os
import random
import signal
import time

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from audio.spectrogram import decibels, octaves, write_spectrogram
from callbacks.demo import Demo, prune
from tests.callbacks.toy import Toy, fit

SHORT = {"num_demos": 2, "seconds": 0.1}
FILES = ["noise_0.png", "noise_0.wav", "noise_1.png", "noise_1.wav"]


def files(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_without_a_logger_files_are_written(tmp_path):
    fit(tmp_path, [Demo(**SHORT)], 9)
    assert files(tmp_path / "demos") == ["step_00000004", "step_00000008"]  # not the sanity check
    first, second = tmp_path / "demos/step_00000004", tmp_path / "demos/step_00000008"
    assert files(first) == files(second) == FILES
    audio, sample_rate = soundfile.read(first / "noise_0.wav")
    assert audio.shape == (800, 2) and sample_rate == 8000
    assert np.array_equal(audio, soundfile.read(second / "noise_0.wav")[0])  # the same seed


def test_every_n_steps_thins_the_demos(tmp_path):
    fit(tmp_path, [Demo(every_n_steps=6, **SHORT)], 17)
    assert files(tmp_path / "demos") == ["step_00000008", "step_00000016"]


@pytest.mark.parametrize(("keep", "steps"), [(2, [12, 16]), (0, []), (-1, [4, 8, 12, 16])])
def test_the_newest_demos_are_kept(tmp_path, keep, steps):
    fit(tmp_path, [Demo(keep=keep, **SHORT)], 16)
    assert files(tmp_path / "demos") == [f"step_{step:08d}" for step in steps]


def test_demos_made_anew_after_an_earlier_checkpoint_are_newer_than_those_of_later_steps(tmp_path):
    for step, seconds in ((8, 30), (4, 20), (6, 10)):  # made so long ago
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        os.utime(folder, (time.time() - seconds,) * 2)
    (tmp_path / "validate_best").mkdir()
    prune(tmp_path, 2)
    assert files(tmp_path) == ["step_4", "step_6", "validate_best"]


def test_wandb_gets_audio_and_pictures(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(project="test", save_dir=tmp_path)
    try:
        fit(tmp_path, [Demo(**SHORT)], 5, logger=logger)
    finally:
        wandb.finish()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert len(list((run / "files/media/audio/demo").glob("noise_*.wav"))) == 2
    assert len(list((run / "files/media/images/demo").glob("noise_spectrogram_*.png"))) == 2
    assert files(tmp_path / "demos/step_00000004") == FILES


def test_tensorboard_gets_audio_and_pictures(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(tmp_path)
    fit(tmp_path, [Demo(**SHORT)], 5, logger=logger)
    log = events.EventAccumulator(logger.log_dir)
    log.Reload()
    assert log.Tags()["audio"] == ["demo/noise_0", "demo/noise_1"]
    assert log.Tags()["images"] == ["demo/noise_0_spectrogram", "demo/noise_1_spectrogram"]
    assert log.Audio("demo/noise_0")[0].step == 4
    assert files(tmp_path / "demos/step_00000004") == FILES


def test_other_loggers_get_files_and_the_peak(tmp_path):
    logger = CSVLogger(tmp_path)
    fit(tmp_path, [Demo(**SHORT)], 5, Toy(demo_gain=2.0), logger=logger)
    assert files(tmp_path / "demos/step_00000004") == FILES
    peaks = [
        row["demo/noise_peak"] for row in logger.experiment.metrics if "demo/noise_peak" in row
    ]
    text = (tmp_path / "lightning_logs/version_0/metrics.csv").read_text()
    assert "demo/noise_peak" in text and all(1.9 < peak < 2 for peak in peaks)


def test_training_draws_the_same_with_and_without_demos(tmp_path):
    draws = []
    for callbacks in ([], [Demo(**SHORT)], [Demo(**SHORT)]):
        torch.manual_seed(0), np.random.seed(0)
        random.seed(0)
        error = ValueError("in a demo") if len(draws) == 2 else None
        draws.append(fit(tmp_path, callbacks, 9, Toy(demo_error=error)).draws)
    assert draws[0] == draws[1] == draws[2]


def test_a_failing_demo_warns_and_training_goes_on(tmp_path, caplog):
    module = Toy(demo_error=RuntimeError("no memory left"))
    with caplog.at_level(logging.WARNING, "callbacks.demo"):
        fit(tmp_path, [Demo(**SHORT)], 5, module)
    assert len(module.trajectory) == 5
    assert "demo at step 4 failed: RuntimeError: no memory left" in caplog.text


def test_an_interrupt_passes(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    module = Toy(demo_error=KeyboardInterrupt())
    try:
        with pytest.raises(SystemExit):
            fit(tmp_path, [Demo(**SHORT)], 9, module)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(module.trajectory) == 4


class Broken(Toy):
    def demo(self, *args, **kwargs) -> dict[str, Tensor]:
        audio = super().demo(*args, **kwargs)["noise"]
        if kwargs["generator"].initial_seed() == 0:  # the first clip's
            audio[0, 0, 7] = torch.nan
        return {"noise": audio}


def test_what_is_not_finite_is_left_out(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "callbacks.demo"):
        fit(tmp_path, [Demo(**SHORT)], 5, Broken())
    assert files(tmp_path / "demos/step_00000004") == ["noise_1.png", "noise_1.wav"]
    assert "noise_0.wav is not finite" in caplog.text


def test_fast_dev_run_makes_no_demo(tmp_path):
    assert not fit(tmp_path, [Demo(**SHORT)], 1, fast_dev_run=True).demo_weights


@pytest.mark.parametrize("wrong", [{"num_demos": 0}, {"seconds": 0.0}, {"every_n_steps": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        Demo(**wrong)


def test_a_full_scale_sine_is_zero_decibels_at_its_frequency():
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)[None]
    picture = decibels(sine)
    row, frame = 1000 * 4096 // 8000, picture.shape[1] // 2
    assert picture[:, frame].argmax() == row
    assert abs(picture[row, frame].item()) < 0.1


@pytest.mark.parametrize(("sample_rate", "frequency"), [(8000, 60), (8000, 1000), (44100, 9000)])
def test_pictures_have_an_even_pitch_axis(sample_rate, frequency):
    time = torch.arange(2 * sample_rate) / sample_rate
    sine = torch.sin(2 * torch.pi * frequency * time)[None]
    picture = octaves(decibels(sine), sample_rate)
    share = math.log(frequency / 40) / math.log(sample_rate / 2 / 40)
    loudest = (picture[:, 5] > picture[:, 5].max() - 0.1).nonzero().float().mean() + 0.5
    width = sample_rate / 4096 / frequency / math.log(sample_rate / 2 / 40) * len(picture)
    assert abs(loudest - share * len(picture)) < 1 + width


@pytest.mark.parametrize("num_samples", [1, 800])
def test_short_audio_can_be_drawn(tmp_path, num_samples):
    picture = write_spectrogram(tmp_path / "a.png", torch.zeros(2, num_samples), 8000)
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
