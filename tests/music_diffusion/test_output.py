"""What a training prints, in a file and in a terminal."""

import logging
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Timer
from torch import nn

from callbacks import progress, run_summary
from callbacks.run_summary import RunSummary
from codec.spectral import SpectralCodec
from foundation.durations import clock, spoken
from foundation.packages import PACKAGES
from music_diffusion.commands import first_look, plans
from music_diffusion.commands import main as cli
from music_diffusion.commands.encode import encode
from music_diffusion.commands.logging import events_shown
from music_diffusion.commands.machine import Machine
from music_diffusion.commands.wandb_settings import go_offline_without_account, silence_dull_warning
from tests.music_diffusion.toy import Clips, Tone


def stub(**attributes: object) -> Any:
    """Stand in for a Trainer, or for a data module."""
    return SimpleNamespace(**attributes)


def test_quiet_hides_lightnings_lines_and_keeps_its_warnings(caplog):
    one = logging.getLogger("lightning.fabric.utilities.rank_zero")
    with warnings.catch_warnings(record=True) as told, events_shown(False):
        one.info("Seed set to 0")
        one.warning("no disk")
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated", stacklevel=1)
    assert caplog.messages == ["no disk"] and not told
    assert logging.getLogger("lightning.fabric").level != logging.WARNING


def test_encode_in_python_says_as_little_as_a_quiet_fit(music, tmp_path, caplog, capsys):
    for name in PACKAGES:  # as where nothing but a program of the user's ran
        caplog.set_level(logging.WARNING, name)
    caplog.handler.setLevel(logging.INFO)
    encode(str(music), str(tmp_path / "store"), codec=SpectralCodec(num_codebooks=1), devices=1)
    assert not caplog.messages and not capsys.readouterr().out


def test_wandb_without_an_account_is_an_event_that_quiet_hides(monkeypatch, caplog, capsys):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")  # restored in the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", "/none")
    caplog.set_level(logging.INFO, "music_diffusion")
    go_offline_without_account()
    assert "no account found" in caplog.text and not capsys.readouterr().out


BAR = "--trainer.enable_progress_bar=true"


def test_a_file_gets_a_line_for_each_validation(fit, capsys):
    fit(BAR)
    out, error = capsys.readouterr()
    lines = [line for line in error.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 2 of 4", "step 4 of 4"]
    assert "val/loss" in lines[0] and "left" in lines[0] and "left" not in lines[1]
    assert "it/s" not in out + error and "Total" not in out + error and "Frozen" not in out + error
    assert "model: Tone, 2 weights" in error and "4 steps of 1 batches, 0.5 epochs" in error
    assert "a step takes" in error and len((out + error).splitlines()) < 20


def test_a_terminal_gets_a_bar(fit, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    fit(BAR)
    printed = capsys.readouterr().out
    assert "it/s" in printed and "train/loss=" in printed
    assert "v_num" not in printed and "val/loss=" not in printed


def test_the_settings_that_are_printed_have_no_empty_loggers(elsewhere, capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--config", "sedd_absorb", "--print_config"])
    printed = capsys.readouterr().out
    assert "project: music-diffusion" in printed and "length: 1024" in printed
    assert "anonymous" not in printed and "null" not in printed.partition("logger:")[2][:300]


def test_wandb_says_nothing_of_what_lightning_sets(capsys):
    wandb = pytest.importorskip("wandb")
    silence_dull_warning()
    wandb.Settings(anonymous=None)
    assert capsys.readouterr().err == ""


def test_music_and_windows_are_told():
    data = stub(
        describe=lambda: {"folder": "mine", "hours": 1.5},
        train_tracks=[1, 2, 3],
        val_tracks=[4],
        window_lengths=lambda: (180, 8.36),
        batch_size=6,
    )
    trainer = stub(datamodule=data, num_training_batches=90)
    first, second = run_summary.music(trainer)
    assert first == "music: mine, 1.50 h; 3 tracks to train on, 1 to validate"
    assert second == "windows of 8.4 s: 90 batches of 6 an epoch"
    assert run_summary.music(stub(datamodule=Clips())) == []


def test_a_training_of_weeks_on_a_processor_names_the_laptops_configs():
    trainer = stub(accumulate_grad_batches=16, max_steps=1000, global_step=0)
    text = run_summary.duration(trainer, Tone(), 80.0)
    assert "a step takes 21 min here" in text and "--config level3_small" in text
    assert "config" not in run_summary.duration(trainer, Tone(), 0.01)
    timer = Timer(duration={"minutes": 30})
    timer.on_train_start(trainer, Tone())
    trainer.callbacks = [timer]
    said = run_summary.duration(trainer, Tone(), 5.0)
    assert said.endswith("; the time is over in 30 min, after about 22 steps"), said
    trainer.max_steps = -1
    assert run_summary.duration(trainer, Tone(), 5.0) == said


def test_a_large_model_without_a_gpu_is_told_before_music_is_read(caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    model = Tone()
    trainer = stub(strategy=stub(root_device=torch.device("cpu")), fast_dev_run=False)
    first_look.look_ahead(trainer, model, Clips())
    assert not caplog.records
    with torch.device("meta"):
        model.more = nn.Linear(10_000, 10_000)
    first_look.look_ahead(trainer, model, Clips())
    assert "Tone has 100 M weights, and there is no GPU" in caplog.text
    assert "--config sedd_absorb --config tiny" in caplog.text


def test_estimates_of_the_plans_and_the_rule_for_any_model_agree():
    machine = Machine("", 1, 10**10, 75.0)
    rule = first_look.FLOPS * plans.SEDD.weights * 1024 * 128 / machine.gflops / 1e9
    assert 0.5 < rule / plans.SEDD.step_seconds(machine) < 2


def test_the_time_of_the_first_batch_alone_is_not_taken_for_the_rest(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    clock_now = iter([0.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    monkeypatch.setattr(run_summary.time, "perf_counter", lambda: next(clock_now))
    trainer = stub(
        accumulate_grad_batches=1, max_steps=-1, global_step=0, is_global_zero=True,
        fast_dev_run=False, datamodule=None, num_training_batches=9,
    )  # fmt: skip
    summary, model = RunSummary(), Tone()
    summary.on_train_start(trainer, model)
    for index in range(4):
        summary.on_train_batch_start(trainer, model, None, index)
        summary.on_train_batch_end(trainer, model, None, None, index)
    assert "a step takes 1 s here" in caplog.text


def test_durations_are_read_at_a_glance():
    values = (0.034, 12.3, 90, 3500, 100 * 3600, 86400 * 5, 86400 * 3000)
    said = ["0.034 s", "12 s", "90 s", "58 min", "4.2 days", "5 days", "8.2 years"]
    assert [spoken(value) for value in values] == said
    assert [clock(value) for value in (7, 187, 3750)] == ["0:07", "3:07", "1:02:30"]


def test_measures_are_shown_in_order():
    trainer = stub(
        global_step=5, max_steps=-1,
        callback_metrics={"val/loss": 1.23456, "train/loss_step": 3, "lr": 1, "fad/x": 2},
    )  # fmt: skip
    assert progress.Progress().line(trainer) == "step 5: val/loss 1.235, fad/x 2"


def test_the_time_left_ends_with_max_time():
    timer, trainer = Timer(duration={"minutes": 30}), stub(global_step=10, max_steps=10_000)
    timer.on_train_start(trainer, Tone())
    trainer.callbacks, trainer.callback_metrics = [timer], {}
    bar = progress.Progress()
    bar.began -= 600  # a minute a step
    assert bar.line(trainer) == "step 10 of 10,000: 30 min left"
    timer = trainer.callbacks[0] = Timer(duration={"seconds": 0})  # its last step ends later
    timer.on_train_start(trainer, Tone())
    assert bar.line(trainer) == "step 10 of 10,000: 0 s left"
