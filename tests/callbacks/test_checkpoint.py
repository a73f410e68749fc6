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

from callbacks.checkpoint import AtomicCheckpointIO, BestCheckpoint, StepCheckpoint
from foundation.errors import UserError
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
    for path, max_steps in ((None, 3), ("last", 6), ("last", 9)):
        logger = CSVLogger(tmp_path)  # a new version_N each time
        module = fit(tmp_path, [StepCheckpoint()], max_steps, ckpt_path=path, logger=logger)
        assert len(module.trajectory) == 3
    assert names(tmp_path) == ["last.ckpt", "step_00000009.ckpt"]


def best(tmp_path, **options) -> int:
    fit(tmp_path, [BestCheckpoint(**options)], 12)
    return torch.load(tmp_path / "checkpoints/best.ckpt")["global_step"]


def test_the_best_is_that_of_the_lowest_or_highest_value(tmp_path):
    found = {mode: best(tmp_path / mode, mode=mode) for mode in ("min", "max")}
    assert set(found.values()) < {4, 8, 12} and found["min"] != found["max"]


def test_a_resumed_run_knows_the_best_of_the_run_before(tmp_path):
    callbacks = [BestCheckpoint(), StepCheckpoint(every_n_steps=3)]
    fit(tmp_path, callbacks, 8)
    again = BestCheckpoint()
    fit(tmp_path, [again, StepCheckpoint()], 9, ckpt_path="last")
    assert again.best == callbacks[0].best < float("inf")


def test_a_best_newer_than_what_is_resumed_stays_unless_it_is_beaten(tmp_path):
    fit(tmp_path, [BestCheckpoint(), StepCheckpoint(every_n_steps=2)], 3)
    path = tmp_path / "checkpoints/best.ckpt"
    fit(tmp_path, [BestCheckpoint()], 4, ckpt_path="last")
    content = torch.load(path)
    state = content["callbacks"]["BestCheckpoint"]
    assert state["best"] < float("inf") and state["measure"] == "min val/loss"
    state["best"] = -1.0  # better than any that follows
    torch.save(content, path)
    again, other = BestCheckpoint(), BestCheckpoint(mode="max")
    fit(tmp_path, [again, StepCheckpoint()], 12, ckpt_path="last")
    assert again.best == -1 and torch.load(path)["global_step"] == 4
    fit(tmp_path, [other], 16, ckpt_path="last")  # by another measure that score means nothing
    assert torch.load(path)["global_step"] == 16


def test_a_damaged_best_is_replaced(tmp_path):
    fit(tmp_path, [StepCheckpoint()], 3)
    path = tmp_path / "checkpoints/best.ckpt"
    path.write_bytes(b"no checkpoint")
    fit(tmp_path, [BestCheckpoint()], 4, ckpt_path="last")
    assert torch.load(path)["global_step"] == 4


def test_a_value_that_nothing_logs_is_refused(tmp_path):
    with pytest.raises(UserError, match="val/lost isn't logged, but"):
        best(tmp_path, monitor="val/lost")


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
from foundation.errors import UserError
from tests.callbacks.toy import At, fit
root = Path(sys.argv[1])
def wait():
    (root / "ready").touch()
    while not (root / "sent").exists():
        time.sleep(0.01)
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
        deadline = time.monotonic() + 300
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        (tmp_path / "sent").touch()
        assert process.wait(300) == 143, process.stderr.read()
    finally:
        process.kill()
    assert names(tmp_path) == ["last.ckpt", "step_00000005.ckpt"]


@pytest.mark.slow
def test_sigterm_to_all_processes_twice_saves_and_ends(tmp_path, kept_port):
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
        deadline = time.monotonic() + 300
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(0.05)
        (tmp_path / "sent").touch()
        assert process.wait(300) == 143
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    last, step = names(tmp_path)  # at the next step on which the processes agree
    assert last == "last.ckpt" and "step_00000005.ckpt" <= step < "step_00000020.ckpt"


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
    (half,) = names(tmp_path)
    assert half.startswith(".last.ckpt")
    fit(tmp_path, [StepCheckpoint()], 1)
    assert names(tmp_path) == ["last.ckpt", "step_00000001.ckpt"]


def test_without_hard_links_last_is_a_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    fit(tmp_path, [StepCheckpoint()], 2)
    assert torch.load(tmp_path / "checkpoints/last.ckpt")["global_step"] == 2
