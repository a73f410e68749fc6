"""A folder holds one run: what is there before stays, and nothing else trains in it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.run_folder import RunFolder
from foundation.leftovers import temporary_name
from tests.callbacks.toy import fit

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from callbacks.run_folder import RunFolder
folder = RunFolder()
folder.take(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def run(root: Path, max_steps: int, path: str | None = None, **options) -> int:
    """Train, and return how many steps that took."""
    path = str(root / "checkpoints" / "last.ckpt") if path == "last" else path
    callbacks = [RunFolder(path), StepCheckpoint(), BestCheckpoint()]
    return len(fit(root, callbacks, max_steps, ckpt_path=path, **options).trajectory)


def step(file: Path) -> int:
    return torch.load(file)["global_step"]


def test_another_run_keeps_the_files_of_the_one_before(tmp_path):
    for number, max_steps in enumerate((5, 9, 6)):
        assert run(tmp_path, max_steps) == max_steps
        (tmp_path / "config.yaml").write_text(str(number))
        assert step(tmp_path / "checkpoints/last.ckpt") == max_steps
    assert step(tmp_path / "earlier_1/checkpoints/last.ckpt") == 5
    assert step(tmp_path / "earlier_2/checkpoints/best.ckpt") in (4, 8)
    assert (tmp_path / "earlier_2/config.yaml").read_text() == "1"
    files = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert files == ["best.ckpt", "last.ckpt", "step_00000006.ckpt"]


def test_going_on_moves_nothing_unless_it_is_another_runs_checkpoint(tmp_path):
    run(tmp_path, 3)
    assert run(tmp_path, 5, "last") == 2
    assert run(tmp_path, 6, str(tmp_path / "checkpoints/step_00000005.ckpt")) == 1
    assert not (tmp_path / "earlier_1").exists()
    run(tmp_path / "other", 4)
    assert run(tmp_path / "other", 7, str(tmp_path / "checkpoints/last.ckpt")) == 1
    assert step(tmp_path / "other/earlier_1/checkpoints/last.ckpt") == 4


def test_what_saves_nothing_moves_nothing(tmp_path):
    run(tmp_path, 3)
    run(tmp_path, 1, fast_dev_run=True)
    assert step(tmp_path / "checkpoints/last.ckpt") == 3


def test_two_runs_at_once_in_a_folder_are_refused(tmp_path):
    run(tmp_path, 3)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="another run is training in"):
            RunFolder().take(tmp_path)
        assert step(tmp_path / "checkpoints/last.ckpt") == 3
    finally:
        holder.kill()  # as a run is: its lock must go with it
        holder.wait()
    RunFolder().take(tmp_path)


def test_what_a_killed_run_was_writing_is_removed(tmp_path, monkeypatch):
    run(tmp_path, 3)
    (tmp_path / "demos/step_00000003").mkdir(parents=True)
    process = subprocess.Popen(["true"])
    process.wait()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: process.pid)
        names = ("fad.csv", "checkpoints/last.ckpt", "demos/step_00000003/sample_0.wav")
        left = [temporary_name(tmp_path / name) for name in names]
    for path in left:
        path.touch()
    run(tmp_path, 5, "last")
    assert not any(path.exists() for path in left)
