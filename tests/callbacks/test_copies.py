"""Demos that copy the training music are seen while a model trains."""

import logging
from types import SimpleNamespace

import pytest

from audio import files as audio
from audio.page.curves import read_curves
from callbacks import copies
from callbacks.copies import Copies
from foundation.errors import MissingFileError
from metrics.musicality import RATE
from tests.music_diffusion.test_report import tune


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """A run with a training folder, and its second validation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(copies, "CONTROL", 4)
    for name, seeds in {"training": (0, 1), "control": (5, 6, 7, 8)}.items():
        for seed in seeds:
            audio.write(tmp_path / name / f"{seed}.wav", tune(seed), RATE)
    logged = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append((step, values)))
    return SimpleNamespace(
        default_root_dir=str(tmp_path),
        is_global_zero=True,
        sanity_checking=False,
        fast_dev_run=False,
        global_step=100,
        loggers=[logger],
        datamodule=None,
        logged=logged,
    )


def test_demos_that_are_copies_are_logged_and_kept(trainer, tmp_path, caplog):
    callback = Copies(str(tmp_path / "training"), str(tmp_path / "control"))
    callback.on_validation_end(trainer, None)  # there are no demos yet
    for step, seed in ((100, 9), (200, 1)):
        trainer.global_step = step
        audio.write(tmp_path / f"demos/step_{step:08d}/sample_0.wav", tune(seed), RATE)
        callback.on_validation_end(trainer, None)
    (_, honest), (step, copied) = trainer.logged
    assert step == 200 and copied["copies/rate"] == 1 and copied["copies/nearest"] > 0.95
    assert honest["copies/nearest"] < 0.9 and honest["copies/control"] == copied["copies/control"]
    assert read_curves(tmp_path)["copies/nearest"].keys() == {100, 200}
    resumed = Copies(str(tmp_path / "training"))
    resumed.load_state_dict(callback.state_dict())
    assert resumed.history == callback.history


def test_a_failure_ends_no_training_and_mistakes_are_found_before_it(trainer, tmp_path, caplog):
    callback = Copies(str(tmp_path / "training"))
    audio.write(tmp_path / "demos/step_00000100/sample_0.wav", tune(1), RATE)
    with caplog.at_level(logging.WARNING):
        callback.on_validation_end(trainer, None)
    assert "give Copies a control" in caplog.text and not trainer.logged
    with pytest.raises(MissingFileError, match="no such folder"):
        Copies(str(tmp_path / "nowhere"))
