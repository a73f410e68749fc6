"""What --model.net.help and its like print, without importing torch."""

import sys
from pathlib import Path

import pytest

from music_diffusion.commands.before_import import prepared
from music_diffusion.commands.class_help import whole_names
from music_diffusion.commands.subclasses import abstract_methods, subclasses

LAB = """from sedd.noise import Noise
from sedd.score_net import ScoreNet

class Steep(Noise):
    def __init__(self, power: float, eps: float = 0.1): ...
    def sigma(self, t): ...
    def rate(self, t): ...

class Half(Noise):
    def sigma(self, t): ...

class Small(ScoreNet):
    def __init__(self, states: int, books: int = 1, width: int = 3): ...
    def forward(self, x, sigma, cond=None): ...
"""


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("helped_lab.py").write_text(LAB)


def shown(capsys, *args: str) -> str:
    assert prepared("fit", list(args)) is None  # the parser isn't asked
    return capsys.readouterr().out


def test_options_have_the_whole_name_that_one_types(capsys):
    text = shown(capsys, "--config", "sedd_absorb", "--model.noise.help", "helped_lab.Steep")
    assert "--model.noise.power X" in text and "--model.noise.eps X" in text
    text = shown(capsys, "--config", "jbdiff", "--model.sampler.help")
    assert "--model.sampler.steps" in text and " --sampler" not in text


@pytest.mark.parametrize("name", ["--model.noise", "--trainer.logger", "--model.codec.inner"])
def test_so_they_have_where_the_parser_prints_them(name, capsys):
    last = name.rpartition(".")[2]
    for prefix in (f"--{last}", name):  # as the parser does within a class, and elsewhere
        with pytest.raises(SystemExit), whole_names(["fit", f"{name}.help=lab.A"]):
            print(f"[{prefix}.eps EPS]\n  {prefix}.eps EPS")
            raise SystemExit(0)
        assert capsys.readouterr().out == f"[{name}.eps EPS]\n  {name}.eps EPS\n"
    with whole_names(["fit", "--data.audio=x"]):
        print(f"--{last}.eps")
    assert capsys.readouterr().out == f"--{last}.eps\n"


def test_what_the_model_gives_a_class_is_no_option(capsys):
    text = shown(capsys, "--config", "sedd_absorb", "--model.net.help", "helped_lab.Small")
    assert "--model.net.width" in text and "books" not in text and "states" not in text


@pytest.mark.parametrize(
    ("args", "base", "classes"),
    [
        (
            "sedd_absorb --model.net.help=sedd.score_net.ScoreNet",
            "ScoreNet",
            ["sedd.ddit.DDiT", "helped_lab.Small"],
        ),
        (
            "jbdiff --model.net.help",
            "VelocityNet",
            ["jbdiff.unet.UNet", "jbdiff.latent_transformer.LatentDiT"],
        ),
        ("jbdiff --model.objective.help", "LatentObjective", ["jbdiff.objective.RectifiedFlow"]),
        ("sedd_absorb --model.noise.help sedd.noise.Noise", "Noise", ["helped_lab.Steep"]),
    ],
)
def test_the_help_of_a_base_class_lists_the_classes_that_can_be_named(args, base, classes, capsys):
    text = shown(capsys, "--config", *args.split())
    assert f".{base}:" in text.splitlines()[0]
    assert {*classes} <= {*text.split()} and "helped_lab.Half" not in text


def test_methods_left_open_are_found_in_the_source():
    assert abstract_methods("sedd.noise.Noise") == {"sigma", "rate"}
    assert not abstract_methods("sedd.noise.LogLinear") and not abstract_methods("nowhere.Net")
    assert subclasses("sedd.noise.LogLinear") == []
