"""Options as people type them, and mistakes in them, told before anything is imported."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from foundation.errors import UserError
from music_diffusion.commands import before_import
from music_diffusion.commands.help import help_of, signature_of_command
from music_diffusion.commands.signature import signature_of


def prepared(command: str, args: list[str]) -> Any:
    """Arguments for the parser; None where help was all."""
    return before_import.prepared(command, args)


ABSORB = ["--config", "sedd_absorb"]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])  # the current folder is added
    for name in ("a.ckpt", "my song.wav", "b.wav"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "args",
    [
        ["a.ckpt", "--seconds", "3"],
        ["--checkpoint", "a.ckpt", "--seconds=3"],
        ["--seconds", "3", "--checkpoint=a.ckpt"],
    ],
)
def test_what_stands_first_can_be_named_too(args):
    assert prepared("sample", args) == ["a.ckpt", "--seconds=3"]


def test_named_and_unnamed_values_find_their_places():
    assert prepared("fad", ["--generated", "b", "a"]) == ["a", "b"]
    assert prepared("page", ["--folders", ".", "--copy", "true"]) == [".", "--copy=true"]
    assert prepared("page", ["--copy", "."]) == [".", "--copy=true"]


@pytest.mark.parametrize("args", ["runs {}", "--folders runs {}", "--folders [runs,{}]"])
def test_the_studio_takes_folders_that_exist(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "my music"):
        Path(name).mkdir()
    words = [word.format("my music") for word in args.split()]
    [option] = prepared("studio", words)
    assert yaml.safe_load(option.removeprefix("--folders=")) == ["runs", "my music"]
    Path("my music").rmdir()
    with pytest.raises(UserError, match="no such folder: my music"):
        prepared("studio", words)


@pytest.mark.parametrize(
    "words", [["4.0,6.5"], ["4.0", "6.5"], ["[4.0, 6.5]"], ["[4.0,", "6.5]"], ["4.0, 6.5"]]
)
def test_a_part_is_understood_as_people_write_it(words):
    args = ["a.ckpt", "--prompt", "my song.wav", "--regenerate", *words, "--count", "1"]
    assert prepared("sample", args)[-2:] == ["--regenerate=[4.0,6.5]", "--count=1"]


def test_numbers_below_zero_and_flags_are_values():
    assert prepared("sample", ["a.ckpt", "--seed", "-1"]) == ["a.ckpt", "--seed=-1"]
    assert prepared("data", ["--headers_only", "."]) == [".", "--headers_only=true"]
    assert prepared("fad", ["a", "b", "--per_file", "false"])[-1] == "--per_file=false"


@pytest.mark.parametrize(
    ("command", "args", "message"),
    [
        (
            "sample",
            ["a.ckpt", "--second", "1"],
            "--second is no option of sample: did you mean --s",
        ),
        ("sample", ["a.ckpt", "--count", "many"], "--count needs a whole number, got 'many'"),
        ("sample", ["a.ckpt", "--seconds", "nan"], "--seconds needs a number, got 'nan'"),
        ("sample", ["a.ckpt", "--guidance", "inf"], "--guidance needs a number, got 'inf'"),
        ("fad", [".", ".", "--seed", "1e12"], "--seed needs a whole number, got '1e12'"),
        ("sample", ["a.ckpt", "--too_loud", "x"], "--too_loud needs skip, clip or scale"),
        ("sample", ["a.ckpt", "--regenerate", "4.0"], "such as 4.0,6.5, got 4.0"),
        (
            "sample",
            ["a.ckpt", "--prompt", "my", "song.wav"],
            "quote what has spaces: --prompt 'my s",
        ),
        ("sample", ["https://a.b/c.ckpt"], "CHECKPOINT https://a.b/c.ckpt is not on this machine"),
        ("sample", ["a.ckpt", "--prompt", "c.wav"], "an audio file is needed at c.wav"),
        ("sample", ["none.ckpt"], "no checkpoint at none.ckpt"),
        ("sample", [], "sample needs CHECKPOINT: a checkpoint of fit"),
        ("encode", ["my", "song.wav"], "quote what has spaces: 'my song.wav'"),
        ("sample jbdiff", ["--second", "3"], "did you mean --seconds?"),
        ("fit", [*ABSORB, "--trainer.max_step=3"], "did you mean --trainer.max_steps?"),
        ("fit", [*ABSORB, "--model.lenght=3"], "did you mean --model.length?"),
        ("fit", [*ABSORB, "--model.net.dropuot", "1"], "did you mean --model.net.dropout?"),
        ("fit", [*ABSORB, "--model.length=x"], "--model.length needs a whole number, got 'x'"),
        ("fit", [*ABSORB, "--data.audio", "http://a.b"], "is not on this machine"),
        (
            "fit",
            [*ABSORB, "--data.audio", "my", "song.wav"],
            "quote what has spaces: --data.audio 'my song.wav'",
        ),
        ("fit", ["--conf", "x"], "--conf is no option of fit: did you mean --config?"),
        ("fit", ["--config", "https://a.b/c.yaml"], "is not on this machine"),
    ],
)
def test_a_mistake_says_what_was_expected(command, args, message):
    first, *rest = command.split()
    with pytest.raises(UserError) as caught:
        prepared(first, [*rest, *args])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("command", "args", "quoted"),
    [
        ("sample", "base --prompt my old song.wav --seconds 3", "--prompt 'my old song.wav'"),
        ("sample", "base --prompt=my old song.wav", "--prompt 'my old song.wav'"),
        ("sample", "--prompt my old song.wav base", "--prompt 'my old song.wav'"),
        ("sample", "--prompt a.wav my old model", "'my old model'"),
        ("sample", "no such model.ckpt", "'no such model.ckpt'"),
        ("fad", "my music my other music", "'my music' 'my other music'"),
        ("fad", "my music", "'my music'"),
        ("page", "my other music", "'my other music'"),
        ("page", "a.wav my music", "'my music'"),
        ("page", "not there", "'not there'"),
        ("report", "my other music", "'my other music'"),
        ("report", "a.wav --reference my other music", "--reference 'my other music'"),
        ("convert", "my other music", "'my other music'"),
        ("studio", "my other music", "'my other music'"),
        ("studio", "--folders my other music", "--folders 'my other music'"),
        ("encode", "a.wav --sidecar my music", "--sidecar 'my music'"),
        ("fit", f"{' '.join(ABSORB)} --data.audio my other music", "--data.audio 'my other music'"),
    ],
)
def test_the_hint_quotes_the_whole_of_a_name_with_spaces(
    command, args, quoted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("my old song.wav", "my music", "my other music", "a.wav"):
        Path(name).touch()
    with pytest.raises(UserError) as caught:
        prepared(command, args.split())
    assert str(caught.value).endswith(f"; quote what has spaces: {quoted}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model:\n  class_path: sedd.module.SEDD\n  init_args:\n    lenght: 3",
            "line 4: lenght is",
        ),
        ("model:\n  init_args:\n    length: x", "line 3: length needs a whole number, got 'x'"),
        ("trainer:\n  max_step: 3", "line 2: max_step is no option: did you mean max_steps?"),
        ("traner: {}", "line 1: traner is no option: did you mean trainer?"),
        (
            "trainer:\n  callbacks:\n  - class_path: callbacks.ema.EMA\n    init_args: {dekay: 1}",
            "line 4: dekay is no option of callbacks.ema.EMA: did you mean decay?",
        ),
        (
            "model:\n  lenght: 3",
            "line 2: lenght is no option of sedd.module.SEDD: did you mean l",
        ),
        (
            "model:\n  noise: {class_path: sedd.noise.Geometric, sigma: 3}",
            "line 2: sigma is no option of sedd.noise.Geometric: did you mean sigma_m",
        ),
    ],
)
def test_a_mistake_in_a_config_has_its_line(text, message):
    Path("c.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        prepared("fit", [*ABSORB, "--config", "c.yaml"])
    assert f"c.yaml, {message}" in str(caught.value)


def test_help_is_one_screen_and_shows_what_the_configs_name(capsys):
    assert prepared("fit", ["--help"]) is None
    screen = capsys.readouterr().out
    assert len(screen.splitlines()) <= 45 and "--data.audio" in screen and "level3_small" in screen
    assert prepared("fit", ["--help-all"]) == ["--help"]
    assert prepared("fit", [*ABSORB, "--model.help"]) is None
    assert "--model.sampling_eps" in capsys.readouterr().out
    assert prepared("fit", [*ABSORB, "--model.net.help"]) is None
    assert "--model.net.hidden_size N" in capsys.readouterr().out
    named = prepared("fit", [*ABSORB, "--trainer.logger.help"])
    assert named[-1] == "--trainer.logger.help=lightning.pytorch.loggers.WandbLogger"


def test_the_screen_names_no_option_that_there_is_not(capsys):
    prepared("fit", ["--help"])
    shown = {word for word in capsys.readouterr().out.split() if word.startswith("--")}
    names = sorted(word.rstrip(",.") for word in shown if "." in word)
    kinds = ("help", "audio", "precision", "jb_level")  # what isn't of SEDD, or takes no 1
    args = [f"{name}=1" for name in names if not name.endswith(kinds)]
    assert len(args) > 10 and prepared("fit", [*ABSORB, *args])


def test_a_user_s_own_class_is_read_or_left_to_the_parser(monkeypatch, files):
    Path("mylab.py").write_text("class Net:\n    def __init__(self, width: int = 3): ...\n")
    monkeypatch.syspath_prepend(files)
    found = signature_of("mylab.Net")
    assert found is not None and found.options.keys() == {"width"}
    assert signature_of("mylab.Missing") is None and signature_of("nowhere.Net") is None
    options = ["--model", "mylab.Other", "--model.any=3"]
    assert prepared("fit", options) == options


@pytest.mark.parametrize(
    "command", ["sample", "sample jbdiff", "fad", "encode", "export", "page", "report", "studio"]
)
def test_help_lists_all_options_with_what_they_do(command):
    signature = signature_of_command(command)
    assert signature is not None
    text = help_of(command, signature)
    for name, option in signature.options.items():
        assert (name.upper() if option.default is None else f"--{name}") in text
        assert option.about, f"{name} has no word in the docstring"
