import logging
import os
import signal

import pytest
import torch
from lightning.pytorch import Trainer

from callbacks.checkpoint import StepCheckpoint
from callbacks.termination import Termination
from tests.callbacks.toy import At, Toy, fit


def press_ctrl_c(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)  # Lightning ignores Ctrl-C while it shuts down


def train(root, action) -> None:
    fit(root, [Termination(every_n_batches=1), At(action, 6), StepCheckpoint(every_n_steps=4)], 20)


def test_ctrl_c_twice_saves_as_once_does(tmp_path, monkeypatch):
    # the second comes before Lightning ignores it
    monkeypatch.setattr("lightning.pytorch.trainer.call.rank_zero_info", press_ctrl_c)
    with pytest.raises(SystemExit):
        train(tmp_path, press_ctrl_c)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 6


def test_ctrl_c_stops_several_processes_after_the_same_step_and_saves(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)

    def press_as_one_of_two():
        monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
        press_ctrl_c()

    with pytest.raises(SystemExit):
        train(tmp_path, press_as_one_of_two)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 6
    assert any("Ctrl-C again stops at once" in text for text in caplog.messages)


def test_a_second_ctrl_c_stops_several_processes_at_once(tmp_path, monkeypatch):
    def press_twice_as_one_of_two():
        monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(SystemExit):
        train(tmp_path, press_twice_as_one_of_two)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 4  # waits for nobody


def test_sigterm_in_a_validation_of_several_processes_does_not_wait_for_its_end(
    tmp_path, monkeypatch
):
    def terminate_as_one_of_two():
        monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
        os.kill(os.getpid(), signal.SIGTERM)

    module = Toy()
    seen = []
    module.on_validation_batch_end = lambda *_: seen.append(module.global_step)
    callbacks = [Termination(), At(terminate_as_one_of_two, 8, validating=True), StepCheckpoint()]
    with pytest.raises(SystemExit):
        fit(tmp_path, callbacks, 20, module)
    assert seen.count(8) == 1  # of two batches
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 8


def test_several_processes_agree_every_few_batches(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
    monkeypatch.setattr(
        "lightning.pytorch.strategies.SingleDeviceStrategy.reduce_boolean_decision",
        lambda self, decision, all=True: asked.append(decision) or decision,
    )
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    for batch_idx in range(25):
        Termination().on_train_batch_start(trainer, Toy(), None, batch_idx)
    assert len(asked) == 3
