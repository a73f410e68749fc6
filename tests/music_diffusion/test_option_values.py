"""Values of options: empty ones, ~, abbreviated names, names that aren't UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import music_diffusion as md
from foundation.errors import UserError
from metrics.embedding import find_weights
from music_diffusion.commands import main as cli
from music_diffusion.commands.arguments import with_configs_first
from tests.music_diffusion.toy import Clips, Tone

EMPTY = {
    "fit": ("--data.audio=", "--model.init_from=", "--ckpt_path=", "--name=", "--trainer.logger="),
    "encode": ("--out=", "--sidecar=", "--codec.path="),
    "sample": ("--prompt=", "--out=", "--init_audio="),
    "fad": ("--save_reference=", "--embedding.path="),
    "sample jbdiff": ("--level_2.checkpoint=", "--context_audio="),
}


@pytest.mark.parametrize("command", EMPTY)
@pytest.mark.parametrize("apart", [False, True])
def test_an_empty_value_is_refused_by_name(command, apart, elsewhere, capsys):
    for option in EMPTY[command]:
        parts = [option[:-1], ""] if apart else [option]
        assert cli.main([*command.split(), *parts]) == 2
        assert f"error: {option[:-1]} is empty" in capsys.readouterr().err


def test_a_level_of_none_and_metadata_may_be_empty():
    args = ["--levels", "", "--cond.folder="]
    assert with_configs_first(args) == args


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("reference", lambda: md.fad("", "b", embedding="logmel")),
        ("generated", lambda: md.fad(".", "", embedding="logmel")),
        ("audio", lambda: md.encode("")),
        ("path", lambda: find_weights("", "x", "y")),
        ("ckpt_path", lambda: md.fit("toy.yaml", ckpt_path="")),
        ("checkpoint", lambda: md.fit(Tone(), Clips(), ckpt_path="")),
        ("name", lambda: md.fit(Tone(), Clips(), name="")),
        ("init_from", lambda: Tone().start_from("")),
    ],
)
def test_an_empty_path_in_python_is_refused_by_name(name, call, elsewhere):
    Path("a.wav").touch()
    with pytest.raises(UserError, match=f"{name} is empty"):
        call()


@pytest.mark.parametrize("setting", ["ckpt_path", "name"])
def test_an_empty_setting_of_a_config_is_refused(setting, fit, elsewhere, capsys):
    Path("empty.yaml").write_text(f'{setting}: ""')
    fit("--config", "empty.yaml", status=2)
    assert f"{setting} is empty" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--trainer.max_step=3", "--na=x", "--ckpt=last"])
def test_an_abbreviated_option_is_refused(option, fit, capsys):
    fit(option, status=2)
    name = option.partition("=")[0]
    assert f"{name} is no option" in capsys.readouterr().err


def test_a_home_folder_after_equals_is_the_home_folder(fit, elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    fit("--trainer.default_root_dir=~/runs/a")
    run = elsewhere / "home/runs/a"
    best = (run / "checkpoints/best.ckpt").stat().st_ino
    more = ["--trainer.max_steps=5", "--ckpt_path=~/runs/a/checkpoints/last.ckpt"]
    fit("--trainer.default_root_dir=~/runs/a", *more)
    assert not (run / "earlier_1").exists() and not Path("~").exists()
    assert (run / "checkpoints/best.ckpt").stat().st_ino == best
    assert (run / "checkpoints/step_00000005.ckpt").exists()
    md.fit(Tone(), Clips(), options={"default_root_dir": "~/b", "max_steps": 1, "logger": False})
    assert (elsewhere / "home/b/checkpoints/last.ckpt").exists()


def test_a_prompt_in_the_home_folder_is_found(fit, elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere))
    fit("--name=a")
    for prompt in ("--prompt=~/none.wav", "--init_audio=~/none.wav"):
        with pytest.raises(UserError, match=f"at {elsewhere}/none.wav"):
            option, path = prompt[2:].split("=")
            md.sample("last", accelerator="cpu", **{option: path})


def test_a_home_of_nobody_is_a_mistake(elsewhere, capsys):
    assert cli.main(["encode", "~nobody_of_this_name/music"]) == 2
    assert "audio ~nobody_of_this_name/music: Could not determine" in capsys.readouterr().err


def test_an_option_that_is_not_utf_8_is_a_line(fit, capsys):
    fit("--data.audio", os.fsdecode(b"caf\xe9"), status=2)
    assert r"error: caf\xe9 isn't UTF-8: rename it" in capsys.readouterr().err


MISTAKES = [
    (["fit", "--config", "none"], 2),
    (["fit", "--config", "sedd_absorb", "--model.lenght=3"], 2),
    (["sample", "--out="], 2),
    (["sample", "/none.ckpt"], 2),
    (["fad", "--help"], 0),
    (["fit", "--help"], 0),
]


def test_simple_mistakes_and_help_are_told_before_torch_is_imported():
    code = f"import sys; from music_diffusion.commands.main import main; cases = {MISTAKES}"
    code += "; assert [main(args) for args, _ in cases] == [status for _, status in cases]"
    code += "; assert 'torch' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
