"""The scripts in examples/, at a tiny size."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import music_diffusion as md
from audio import files as audio

ROOT = Path(__file__).parents[2]
TINY = [
    *("model.length=32", "model.net.hidden_size=16", "model.net.num_blocks=1"),
    *("model.net.num_heads=2", "model.sampler.steps=2", "trainer.max_steps=2"),
    *("trainer.val_check_interval=2", "trainer.limit_val_batches=1", "trainer.logger=false"),
    *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "data.batch_size=2"),
]


def example(name: str, *args: object) -> None:
    sys.argv = [name, *map(str, args)]
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_sweep_without_validation_says_what_to_add(here, monkeypatch):
    trainer = SimpleNamespace(callback_metrics={}, global_step=2)
    monkeypatch.setattr(md, "fit", lambda *_, **__: SimpleNamespace(trainer=trainer))
    with pytest.raises(SystemExit, match="add trainer.val_check_interval=STEPS, at most 2"):
        example("sweep", "music", "trials=1")


SCRIPTS = {  # with a path where nothing is
    "sample": ["none.ckpt"],
    "own_sampler": ["none.ckpt"],
    "repair": ["none.ckpt", "none.wav", "0", "1"],
    "score": ["none", "none"],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_wrong_path_is_told_in_a_line_and_no_path_by_the_usage(name, here, capsys):
    with pytest.raises(md.UserError) as caught:
        example(name, *SCRIPTS[name])
    with pytest.raises(SystemExit) as ended:  # as Python does after the last line
        sys.excepthook(caught.type, caught.value, caught.tb)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(SystemExit, match=f"python examples/{name}.py"):
        example(name)


def test_other_errors_of_a_script_keep_their_traceback(here, capsys, monkeypatch):
    monkeypatch.setenv("MUSIC_TRACEBACK", "1")
    for error in (RuntimeError("mine"), md.UserError("yours"), KeyboardInterrupt("stop")):
        try:
            raise error
        except BaseException as caught:
            md.excepthook(type(caught), caught, caught.__traceback__)
        assert "Traceback" in capsys.readouterr().err


def test_the_examples_work(here, music, capsys):
    example("sweep", music, *TINY)
    out = capsys.readouterr().out
    *_, head, best, other = out.splitlines()
    assert head.startswith("val/loss") and float(best.split()[0]) <= float(other.split()[0])
    last = here / "runs/sweep_1/checkpoints/last.ckpt"
    example("sample", last)
    assert audio.probe("sample.wav").num_samples >= 9.9 * 44100
    example("own_sampler", last)
    assert audio.probe("left_to_right.wav").num_samples >= 1.9 * 44100
    example("repair", last, music / "0.wav", 0.25, 0.5)
    before, after = audio.read(music / "0.wav"), audio.read("repaired.wav")
    torch.testing.assert_close(after[:, :8000], before[:, :8000], atol=1e-3, rtol=0)
    assert not torch.allclose(after[:, 12000:20000], before[:, 12000:20000], atol=1e-2)
    capsys.readouterr()
    audio.write("long/0.wav", torch.rand(1, 3 * 44100) - 0.5, 44100)
    example("score", "long", "long")
    assert "the Frechet distance is" in capsys.readouterr().out
