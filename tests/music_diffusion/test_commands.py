"""The command line as a user meets it: configs, and what mistakes print."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader

from audio.files import write
from codec.jukebox import JukeboxCodec
from datamodules.header import Header
from datamodules.token_store import TokenStore, create
from music_diffusion.commands import main as cli
from music_diffusion.commands import quickstart

ROOT = Path(__file__).parents[2]
NAMES = ("sedd_absorb", "tiny", "quickstart")
QUICK = [part for name in NAMES for part in ("--config", name)]
SMALL = ["--model.net.hidden_size=16", "--model.net.num_blocks=1", "--model.net.num_heads=2"]


pytestmark = pytest.mark.usefixtures("command_line")


@pytest.mark.parametrize(
    "names",
    [
        ["sedd_absorb"],
        ["sedd_uniform"],
        ["sedd_absorb", "tiny", "small_data"],
        ["sedd_absorb", "medium"],
        ["sedd_uniform", "tiny"],
    ],
)
def test_configs_train_a_step(names, music, tmp_path, capsys):
    configs = [part for name in names for part in ("--config", f"configs/{name}.yaml")]
    options = ["--data.audio", str(music), "--model.length=32", "--data.num_workers=0", *SMALL]
    options += ["--trainer.fast_dev_run=1", f"--trainer.default_root_dir={tmp_path}"]
    assert cli.main(["fit", *configs, *options, "--trainer.accelerator=cpu"]) == 0


def test_the_codec_trains_a_step(music, tmp_path):
    options = ["--data.audio", str(music), "--model.levels=[2]", "--trainer.fast_dev_run=1"]
    options += ["--model.length=4096", "--data.batch_size=2", "--trainer.accelerator=cpu"]
    assert cli.main(["fit", "--config", "configs/vqvae.yaml", *options]) == 0


def test_activation_checkpointing_and_audio_batches_train(music, tmp_path):
    options = ["--data", "datamodules.wav.WavDataModule", "--data.audio", str(music), *SMALL]
    options += ["--model.net.checkpoint_activations=true", "--model.length=32"]
    options += ["--trainer.fast_dev_run=1", "--trainer.accelerator=cpu"]
    assert cli.main(["fit", *QUICK, *options]) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["fit"], "no config says what the model is"),
        (["fit", "--config", "none.yaml"], "there is no config none.yaml"),
        (["fit", "--config", "configs/tiny.yaml"], "no config says what the model is"),
        (["fit", "--config"], "--config: expected one argument"),
        (["fit", "--config", "README.md"], "README.md holds no settings in YAML"),
        (["fit", *QUICK, "--model.demo_steps=3"], "--model.sampler.steps"),
        (
            ["fit", *QUICK, "--model.lenght=3"],
            "SEDD: did you mean --model.length?",
        ),
        (["fit", *QUICK, "--trainer.max_stepz=3"], "max_stepz"),
        (["fit", *QUICK, "--model.length=0"], "needs a positive length, got 0"),
        (["fit", *QUICK, "--trainer.accelerator=gpux"], "accelerator"),
        (["fit", *QUICK, "--trainer.accelerator=cpu", "--trainer.devices=0"], "`Trainer(devices="),
        (["fit", *QUICK, "--data.audio=/none"], "no such folder or audio file: /none"),
        (["encode", "/none"], "no such folder or audio file: /none"),
        (["encode", "tests", "--level=7"], "level must be 0 (finest), 1, 2 or 3 (coarsest), got 7"),
        (["encode"], "encode needs AUDIO: a folder, searched with all its folders, or one file"),
        (["encode", "tests", "--devices=two"], "`devices` selected with"),
        (["sample", "/none.ckpt"], "no checkpoint at /none.ckpt"),
        (["sample", "/none.ckpt", "--nope=1"], "--nope"),
        (["sample", "/none.ckpt", "--regenerate=4,6"], "no checkpoint at"),
        (["sample", "README.md"], "README.md can't be read as a checkpoint"),
        (["sample", "tests"], "tests is no exported model"),
        (["sample", "dance", "x", "--nope=1"], "--nope"),
        (["sample", "x", "--count=many"], "no checkpoint at x"),
        (["sample", "base", "--count=many"], "--count needs a whole number, got 'many'"),
        (["export", "tests"], "tests is a folder: export takes a checkpoint of fit"),
        (["fad", "tests", "tests", "--device=gpux"], "device 'gpux' can't be used"),
        (["fit", *QUICK, "--ckpt_path=README.md"], "README.md can't be read as a checkpoint"),
        (["fit", *QUICK, "--ckpt_path=tests"], "tests is a folder: --ckpt_path takes a file"),
        (["fit", *QUICK, "--ckpt_path=codec/embedded.safetensors"], "--model.init_from codec/emb"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(args, message, capsys):
    assert cli.main(args) == 2
    error = capsys.readouterr().err
    lines = error[error.index("error: ") :].splitlines()  # before it: Lightning's own lines
    assert message in lines[0] and not any("Traceback" in line for line in lines)


def test_bad_music_and_foreign_tokens_are_refused(music, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert cli.main(["fit", *QUICK, f"--data.audio={tmp_path / 'empty'}"]) == 2
    assert ".flac" in capsys.readouterr().err
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.wav").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    for out in ([], ["--out", str(tmp_path / "new" / "store")]):
        assert cli.main(["encode", str(tmp_path / "text"), "--accelerator=cpu", *out]) == 2
        assert "none of the 1 files" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    create(tmp_path / "store", Header("other", 44100, 128, 2048, ("tokens",)))
    assert cli.main(["fit", *QUICK, f"--data.tokens={tmp_path / 'store'}"]) == 2
    assert "were made by codec other" in capsys.readouterr().err
    assert cli.main(["fit", *QUICK, f"--data.audio={music}", "--ckpt_path=/none.ckpt", *SMALL]) == 2


def test_encode_sample_and_the_checkpoint_of_another_model(music, tmp_path, capsys):
    store = str(tmp_path / "store")
    assert cli.main(["encode", str(music), "--out", store, "--accelerator=cpu"]) == 0
    assert TokenStore.open(Path(store)).header.fingerprint == JukeboxCodec().fingerprint
    fit = ["fit", *QUICK, "--model.codec=codec.jukebox.JukeboxCodec", "--data.tokens", store]
    fit += ["--model.length=32", "--trainer.accelerator=cpu"]
    fit += ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--model.sampler.steps=2"]
    fit += ["--trainer.default_root_dir", str(tmp_path), "--data.batch_size=2"]
    assert cli.main([*fit, *SMALL]) == 0
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    options = ["--out", str(tmp_path / "out"), "--seconds=0.2", "--count=2", "--steps=2"]
    for count in (2, 4):  # the second call's are numbered on from the first one's
        assert cli.main(["sample", last, *options, "--accelerator=cpu"]) == 0
        assert len(list((tmp_path / "out").glob("*.wav"))) == count
        assert len(list((tmp_path / "out").glob("*.png"))) == count
    assert cli.main(["predict", *fit[1:], *SMALL, "--ckpt_path", last]) == 0
    assert list((tmp_path / "predictions").glob("batch_0000/sample_*.wav"))
    assert cli.main([*fit, "--ckpt_path", last]) == 2  # another size of network
    assert "of another shape" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["encode"], ["sample"], ["fit"]])
def test_help_is_readable(command):
    result = subprocess.run(
        [sys.executable, "cli.py", *command, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0 and "usage:" in result.stdout, result.stderr


def test_without_the_packages_a_line_says_how_to_get_them(monkeypatch, capsys):
    for name in ("encode", "options"):
        monkeypatch.delitem(sys.modules, f"music_diffusion.commands.{name}", raising=False)
    monkeypatch.delattr("music_diffusion.commands.encode", raising=False)
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    assert cli.main(["encode", "tests"]) == 2
    assert "pip install -r requirements.txt" in capsys.readouterr().err


def test_text_with_the_name_of_music_is_said_to_be_none(tmp_path, capsys):
    (tmp_path / "a.mp3").write_text("no music")
    assert cli.main(["encode", str(tmp_path), "--out", str(tmp_path / "o"), "--accelerator=cpu"])
    assert "its content is no audio of a known format" in capsys.readouterr().err


def test_the_hint_names_the_help_of_the_class_that_was_meant(capsys):
    assert cli.main(["sample", "jbdiff", "--level_2.sampler.stps=1"]) == 2
    error = capsys.readouterr().err
    assert "cli.py sample jbdiff --level_2.sampler.help jbdiff.samplers.DDIM lists" in error


def test_too_little_memory_is_told_in_a_line_and_other_failures_are_not_hidden(monkeypatch, capsys):
    def fail(text):
        raise RuntimeError(text)

    cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    for text in (cpu, "CUDA out of memory. Tried to allocate 9 GiB"):
        monkeypatch.setattr(cli, "run", lambda *_, text=text: fail(text))
        assert cli.main(["encode"]) == 1
        assert "out of memory: make less at once" in capsys.readouterr().err
    monkeypatch.setattr(cli, "run", lambda *_: fail("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        cli.main(["encode"])


@pytest.mark.parametrize(
    "content", [b"", b"RIFF0000WAVE", b"text", b"PK\x03\x04" + bytes(99), b"\x80\x02" + bytes(99)]
)
def test_any_file_given_as_a_checkpoint_is_refused_in_a_line(content, tmp_path, capsys):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    for command in (["fit", *QUICK, "--ckpt_path"], ["sample"], ["export"]):
        assert cli.main([*command, str(path)]) == 2
        error = capsys.readouterr().err
        assert f"error: {path} " in error and "Traceback" not in error


def test_quickstart_plays_before_and_after_with_the_same_seeds(tmp_path, monkeypatch, capsys):
    fits, played = [], []

    def sample(checkpoint, out, seconds, count, seed):
        played.append((checkpoint, seed))
        paths = [Path(out, f"sample_{seed + i}.wav") for i in range(count)]
        Path(out).mkdir(parents=True, exist_ok=True)
        for path in paths:
            write(path, torch.rand(1, 9000) - 0.5, 44100)
        return paths

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, "train", lambda command, args: fits.append(args))
    monkeypatch.setattr(quickstart, "sample", sample)
    quickstart.quickstart(audio="music", minutes=1.5)
    Path("runs/quickstart/checkpoints").mkdir(parents=True)
    Path("runs/quickstart/checkpoints/last.ckpt").touch()
    quickstart.quickstart()
    last = "runs/quickstart/checkpoints/last.ckpt"
    assert played == [("base", 0), (last, 0), ("base", 2), (last, 2)]
    assert "--data.audio=music" in fits[0] and "00:00:01:30" in fits[0]
    assert ["--ckpt_path" in args for args in fits] == [False, True]
    assert sorted(path.name for path in Path("runs/quickstart").glob("*.png")) == [
        f"sample_{i}.png" for i in range(4)
    ]
    printed = capsys.readouterr().out
    assert "isn't trained again" in printed and "runs/quickstart/compare/index.html" in printed
    assert Path("runs/quickstart/compare/index.html").read_text().count("<audio") == 8


def test_encode_with_wrong_devices_is_a_line_and_leaves_nothing(music, tmp_path, capsys):
    assert cli.main(["encode", str(music), "--out", str(tmp_path / "o"), "--devices", "two"]) == 2
    error = capsys.readouterr().err
    assert "devices" in error and "Traceback" not in error and not (tmp_path / "o").exists()


@pytest.mark.parametrize("first", [["--model.jb_level=2"], ["--model.jb_level", "2"]])
def test_a_level_alone_takes_the_config_of_levels(first):
    from music_diffusion.commands.arguments import with_configs_first

    args = with_configs_first(["--data.audio", "x", *first])
    assert args[0] == "--config" and args[1].endswith("jbdiff.yaml")
    assert args[2:] == ["--model.jb_level", "2", "--data.audio", "x"]
    assert with_configs_first(["--model", "a.B", *first])[0] == "--model"


def test_version_tells_the_commit(capsys):
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"music-diffusion \d+\.\d+\.\d+ \(commit \S+\)\n", capsys.readouterr().out)


@pytest.fixture
def handlers():
    """Python's handlers, back after a command that ignores signals while it exits."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_stops_what_is_not_training(again, monkeypatch, capfd, handlers):
    monkeypatch.setattr(cli, "run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit, match="143"):
        cli.main(["encode"])
    os.kill(os.getpid(), again)  # breaks no exit
    assert capfd.readouterr().err == "stopped\n"


def test_ctrl_c_in_the_first_moments_is_one_too(monkeypatch, capsys, handlers):
    def press():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "report_events", press)
    assert cli.main(["fit"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_ctrl_c_while_data_workers_start_is_one_too(monkeypatch, capsys, handlers):
    """Lightning's teardown then asks for the length of loaders that haven't begun."""

    def run(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            len(CombinedLoader([[1]], "min_size"))

    monkeypatch.setattr(cli, "run", run)
    assert cli.main(["fit"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_ctrl_c_ends_every_command_with_130(monkeypatch, capsys, handlers):
    def like_lightning(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(cli, "run", like_lightning)
    assert cli.main(["encode"]) == cli.main(["fit"]) == 130
    assert capsys.readouterr().err == "stopped\nstopped\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)  # once more breaks no exit
    monkeypatch.setattr(cli, "run", lambda *_: sys.exit(143))
    with pytest.raises(SystemExit, match="143"):
        cli.main(["fit"])


@pytest.mark.parametrize(
    "args, message",
    [
        (
            ["fit", *QUICK, "--model.noise=sedd.noise.LogLinear", "--model.noise.epz=1"],
            "error: --model.noise.epz is no option of sedd.noise.LogLinear: did you mean --mo",
        ),
        (
            ["fit", *QUICK, "--model.noise=sedd.noise.Linear"],
            "error: --model.noise sedd.noise.Linear: module 'sedd.noise' has no attribute 'Linear'",
        ),
        (["sample", "base", "--sampler.steps=3"], "error: options of a sampler need its name"),
    ],
)
def test_a_wrong_option_or_class_is_named_alone(args, message, capsys):
    assert cli.main(args) == 2
    assert message in capsys.readouterr().err
