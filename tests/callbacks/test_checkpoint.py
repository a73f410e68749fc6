import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from callbacks.checkpoint import AtomicCheckpointIO, BestCheckpoint, StepCheckpoint, again
from tests.callbacks.toy import At, Toy, fit

ROOT = Path(__file__).parents[2]


def names(root: Path) -> list[str]:
    return sorted(file.name for file in (root / "checkpoints").iterdir())


def test_steps_best_and_last(tmp_path):
    fit(tmp_path, [StepCheckpoint(every_n_steps=2, keep=2), BestCheckpoint()], 9)
    assert names(tmp_path) == ["best.ckpt", "last.ckpt", "step_00000008.ckpt", "step_00000009.ckpt"]
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 9
    assert (tmp_path / "checkpoints/last.ckpt").samefile(
        tmp_path / "checkpoints/step_00000009.ckpt"
    )
    assert torch.load(tmp_path / "checkpoints/best.ckpt")["global_step"] in (4, 8)


def test_keep_none_leaves_only_last(tmp_path):
    fit(tmp_path, [StepCheckpoint(every_n_steps=2, keep=0)], 5)
    assert names(tmp_path) == ["last.ckpt"]


def test_last_is_found_across_versioned_log_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no last.ckpt in"):
        fit(tmp_path, [StepCheckpoint()], 3, ckpt_path="last")
    for path, max_steps in ((None, 3), ("last", 6), ("last", 9)):
        logger = CSVLogger(tmp_path)  # a new version_N each time
        module = fit(tmp_path, [StepCheckpoint()], max_steps, ckpt_path=path, logger=logger)
        assert len(module.trajectory) == 3
    assert names(tmp_path) == ["last.ckpt", "step_00000009.ckpt"]


def test_a_new_run_leaves_an_earlier_last_alone_and_newest_wins(tmp_path):
    fit(tmp_path, [StepCheckpoint()], 3)
    fit(tmp_path, [StepCheckpoint()], 5)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 3
    assert torch.load(tmp_path / "checkpoints/last-v1.ckpt")["global_step"] == 5
    assert len(fit(tmp_path, [StepCheckpoint()], 6, ckpt_path="last").trajectory) == 1


def interrupt():
    raise KeyboardInterrupt


def fail():
    raise RuntimeError("for the test")


@pytest.mark.parametrize(
    ("action", "raised"), [(fail, RuntimeError), (interrupt, SystemExit)], ids=["error", "ctrl-c"]
)
def test_a_stopped_run_is_saved(tmp_path, action, raised, caplog):
    caplog.set_level(logging.INFO)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(raised):
            fit(tmp_path, [At(action, 6), StepCheckpoint(every_n_steps=4)], 20)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C while it shuts down
    assert names(tmp_path) == ["last.ckpt", "step_00000006.ckpt"]
    (note,) = (text for text in caplog.messages if "resume with" in text)
    assert "step 6" in note and f"--ckpt_path {tmp_path}/checkpoints/last.ckpt" in note


def test_a_failing_resume_does_not_overwrite_what_it_resumed_from(tmp_path):
    fit(tmp_path, [StepCheckpoint()], 3)
    before = (tmp_path / "checkpoints/last.ckpt").read_bytes()
    module = Toy()
    module.configure_optimizers = lambda: torch.optim.SGD(
        [{"params": [module.weight]}, {"params": [torch.nn.Parameter(torch.zeros(1))]}], lr=0.1
    )
    with pytest.raises(ValueError):
        fit(tmp_path, [StepCheckpoint()], 6, module, ckpt_path="last")
    assert (tmp_path / "checkpoints/last.ckpt").read_bytes() == before


def test_fast_dev_run_saves_nothing(tmp_path):
    fit(tmp_path, [StepCheckpoint(), BestCheckpoint()], 1, fast_dev_run=True)
    assert not list(tmp_path.rglob("*.ckpt"))


PREPARE = """
import sys, time
from pathlib import Path
from callbacks.checkpoint import StepCheckpoint
from tests.callbacks.toy import At, fit
root = Path(sys.argv[1])
def wait():
    (root / "ready").touch()
    time.sleep(2)  # the signal comes within it
callbacks = [StepCheckpoint(every_n_steps=2), At(wait, 5)]
"""
ALONE = PREPARE + "fit(root, callbacks, 100000)"
PAIR = (
    PREPARE
    + """
from callbacks.termination import Termination
fit(root, [Termination(), *callbacks], 100000, devices=2, strategy="ddp")
"""
)


def test_sigterm_saves_and_ends_with_143(tmp_path):
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143, process.stderr.read()
    finally:
        process.kill()
    assert names(tmp_path) == ["last.ckpt", "step_00000005.ckpt"]


@pytest.mark.slow
def test_sigterm_to_all_processes_twice_saves_and_ends(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(PAIR)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(0.05)
        assert process.wait(60) == 143
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert names(tmp_path) == ["last.ckpt", "step_00000005.ckpt"]


def test_one_of_many_processes_fails_without_waiting_for_the_others(tmp_path, monkeypatch):
    callback = StepCheckpoint(every_n_steps=4)

    def fail_as_one_of_two():
        monkeypatch.setattr("lightning.pytorch.Trainer.world_size", 2)
        fail()

    with pytest.raises(RuntimeError, match="for the test"):
        fit(tmp_path, [At(fail_as_one_of_two, 6), callback], 20)
    assert names(tmp_path) == ["last.ckpt", "step_00000004.ckpt"]


def break_midway(checkpoint, file):
    file.write(b"half")
    raise OSError("disk full")


def test_a_write_cut_short_leaves_the_old_file(tmp_path, monkeypatch):
    path, io = tmp_path / "checkpoints/last.ckpt", AtomicCheckpointIO()
    io.save_checkpoint({"step": 1}, path)
    monkeypatch.setattr(torch, "save", break_midway)
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"step": 2}, path)
    assert torch.load(path) == {"step": 1}
    assert names(tmp_path) == ["last.ckpt"]


def test_a_kill_while_writing_leaves_no_half_file(tmp_path):
    script = """
import os, signal, sys, torch
from callbacks.checkpoint import AtomicCheckpointIO
def die(checkpoint, file):
    file.write(b"half"); file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = die
AtomicCheckpointIO().save_checkpoint({}, sys.argv[1])
"""
    path = tmp_path / "checkpoints/last.ckpt"
    command = [sys.executable, "-c", script, str(path)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert names(tmp_path) == ["last.ckpt.tmp"]
    fit(tmp_path, [StepCheckpoint()], 1)
    assert names(tmp_path) == ["last.ckpt", "step_00000001.ckpt"]


def test_without_hard_links_last_is_a_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    fit(tmp_path, [StepCheckpoint()], 2)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 2


def test_the_line_that_goes_on_can_be_copied():
    args = ["fit", "--config", "a.yaml", "--ckpt_path", "old", "--data.audio", "my music"]
    line = "python cli.py fit --config a.yaml --data.audio 'my music' --ckpt_path last.ckpt"
    assert again(args, "last.ckpt") == line
    assert again(["fit", "--ckpt_path=old"], "x") == "python cli.py fit --ckpt_path x"
