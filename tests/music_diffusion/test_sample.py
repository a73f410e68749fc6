"""sample and export, of a model of one weight and of files of earlier versions."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger

import music_diffusion as md
from audio import files as audio
from foundation.errors import UserError
from music_diffusion.commands import main as cli
from music_diffusion.commands.training import ALWAYS
from tests.music_diffusion.toy import Clips, Scaled, Tone

LAST = "runs/mine/checkpoints/last.ckpt"


@pytest.fixture
def trained(fit) -> str:
    fit("--name", "mine", "--trainer.max_steps", "2")
    return LAST


def settings(path: str) -> dict:
    return json.loads(Path(path).read_text())["settings"]


def test_a_clip_beyond_full_scale_is_turned_down(trained, capsys):
    sampler = ["--sampler", "Scaled", "--sampler.size", "30", "--seconds", "0.05"]
    assert cli.main(["sample", "last", "--count", "1", "--accelerator", "cpu", *sampler]) == 0
    samples = audio.read("samples/sample_0.wav").abs()
    assert samples.max() > 0.99 and (samples > 0.99).float().mean() < 0.2
    assert re.search(r"sample_0.wav would clip: turned down by [\d.]+ dB", capsys.readouterr().err)


def test_samples_have_settings_beside_them_that_make_them_again(trained, capsys):
    options = ["--count", "3", "--batch_size", "2", "--seed", "7", "--accelerator", "cpu"]
    sampler = ["--sampler", "Scaled", "--sampler.size", "0.3", "--seconds", "0.05"]
    assert cli.main(["sample", "last", *options, *sampler]) == 0
    assert "sample_0.wav, sample_1.wav, sample_2.wav" in capsys.readouterr().out
    suffixes = [path.suffix for path in Path("samples").iterdir()]
    assert sorted(suffixes) == [".html"] + 3 * [".json"] + 3 * [".png"] + 3 * [".wav"]
    page = Path("samples/index.html").read_text()
    assert page.count("<audio") == 3 and "&quot;seed&quot;: 9" in page
    assert settings("samples/sample_2.json")["seed"] == 9
    made = json.loads(Path("samples/sample_2.json").read_text())["made"]
    assert made["commit"] and made["model"]["data"]["tracks"] == 16  # what it was trained on
    assert cli.main(["sample", "--config", "samples/sample_2.json", "--out", "again"]) == 0
    assert Path("again/sample_0.wav").read_bytes() == Path("samples/sample_2.wav").read_bytes()
    assert audio.probe("samples/sample_0.wav").num_samples == 400


def test_a_clip_is_the_same_file_whatever_the_count_and_batch_size(trained):
    """The toy's clips depend on those beside them, as rounding does in matrix products."""
    sample = ["sample", trained, "--accelerator", "cpu", "--seconds", "0.05"]
    for number, (count, size, seed) in enumerate(((1, 4, 8), (2, 2, 7), (3, 1, 7))):
        options = ["--count", str(count), "--batch_size", str(size), "--seed", str(seed)]
        assert cli.main([*sample, *options, "--out", str(number)]) == 0
    files = ("0/sample_0.wav", "1/sample_1.wav", "2/sample_1.wav")
    assert len({Path(name).read_bytes() for name in files}) == 1


def test_files_are_numbered_on(trained):
    for count in (2, 4):
        assert cli.main(["sample", trained, "--count", "2", "--steps", "1"]) == 0
        assert len(list(Path("samples").glob("*.wav"))) == count
    assert settings("samples/sample_3.json")["sampler"]["init_args"]["steps"] == 1


def test_clips_of_two_models_are_told_apart(trained, fit, capsys):
    fit("--name", "other", "--trainer.max_steps", "1")
    for checkpoint in (trained, trained, "runs/other/checkpoints/last.ckpt"):
        md.sample(checkpoint, count=1, seconds=0.05)
    page = Path("samples/index.html").read_text()
    titles = re.findall("<h2>In this folder, by (mine|other) last of 20", page)
    assert titles == ["mine", "other"] and page.count("<audio") == 3
    assert capsys.readouterr().err.count("samples holds clips of mine last of 20") == 1


def test_a_prompt_is_continued_or_repaired_and_metadata_reaches_the_model(trained):
    audio.write("prompt.wav", torch.full((1, 8000), 0.5), 8000)
    sample = ["sample", trained, "--count", "1", "--prompt", "prompt.wav"]
    assert cli.main([*sample, "--seconds", "0.5", "--out", "a"]) == 0
    assert audio.probe("a/sample_0.wav").num_samples == 12000
    page = Path("a/index.html").read_text()
    assert 'class="part" style="left:66.67%;width:33.33%"' in page
    assert "continued from 1.00 to 1.50 s" in page
    assert cli.main([*sample, "--regenerate", "[0.25, 0.5]", "--out", "b"]) == 0
    made = audio.read("b/sample_0.wav")
    assert (made[:, 2000:4000].abs() < 0.01).all() and made.shape[-1] == 8000
    page = Path("b/index.html").read_text()
    assert 'class="part" style="left:25.00%;width:25.00%"' in page
    assert "regenerated from 0.25 to 0.50 s" in page
    torch.testing.assert_close(made[:, :2000], torch.full((1, 2000), 0.5), atol=1e-3, rtol=0)
    assert (
        cli.main(["sample", trained, "--count", "1", "--cond.folder", "x" * 50, "--out", "c"]) == 0
    )
    assert audio.read("c/sample_0.wav").min() >= 0.49


MISTAKES = [
    (["--regenerate", "[1, 2]"], "regenerate needs a prompt"),
    (["--prompt", "p.wav", "--regenerate", "[0.5, 2]"], "0 <= start < end <= 1.00 s"),
    (["--init_audio", "p.wav"], "Tone can't resemble a file"),
    (["--sampler", "DDIM"], "DDIM can't sample Tone, which takes a tests.music_diffusion.toy"),
    (["--seconds", "-1"], "seconds must be positive, got -1.0"),
    (["--init_strength", "2"], "init_strength must be between 0 and 1, got 2.0"),
    (["--count", "0"], "count must be at least 1, got 0"),
    (["--prompt", "none.wav"], "none.wav"),
    (["--sample_rate", "1"], "is of 8000 Hz, not 1"),
    (["--out", "p.wav"], "p.wav is a file, give a folder"),
    (["--accelerator", "gpux"], "accelerator gpux"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_what_a_model_cant_do_is_a_line(options, message, trained, capsys):
    audio.write("p.wav", torch.zeros(1, 8000), 8000)
    assert cli.main(["sample", trained, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and "sampling" not in error


def test_an_export_samples_like_its_checkpoint_and_has_a_card(trained, capsys):
    assert cli.main(["export", trained, "--out", "small"]) == 0
    assert sorted(path.name for path in Path("small").iterdir()) == [
        *("README.md", "config.json", "model.safetensors"),
    ]
    _, head, text = Path("small/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc0-1.0" and "16 tracks" in text
    for source, out in ((trained, "a"), ("small", "b")):
        assert cli.main(["sample", source, "--count", "1", "--out", out]) == 0
    assert Path("a/sample_0.wav").read_bytes() == Path("b/sample_0.wav").read_bytes()
    assert cli.main(["export", trained, "--out", "other", "--licence", "mit"]) == 0
    assert "license: mit" in Path("other/README.md").read_text()


@pytest.mark.parametrize("quiet", [False, True])
def test_training_in_python_shows_what_the_command_line_does(elsewhere, quiet, capsys):
    events, shown = logging.getLogger("callbacks"), {"trainer.enable_progress_bar": not quiet}
    before = (events.handlers, events.propagate, events.level)
    md.fit("toy.yaml", options=shown if not quiet else {}, name="mine", quiet=quiet)
    out, err = capsys.readouterr()
    assert ("step 4 of 4: val/loss" in err) == ("at step 4" in out) == (not quiet)
    assert before == (events.handlers, events.propagate, events.level)
    options = {"max_steps": 2, "accelerator": "cpu", "val_check_interval": 2, "logger": False}
    md.fit(Tone(), Clips(), options=options, quiet=quiet)
    out, err = capsys.readouterr()
    assert ("step 2 of 2: val/loss" in err) == ("at step 2" in out) == (not quiet)


def test_python_does_what_the_command_line_does(elsewhere):
    model = md.fit("toy.yaml", options={"trainer.max_steps": 2}, name="mine")
    assert isinstance(model, Tone) and Path(LAST).is_file()
    loaded = md.load("runs/mine/checkpoints/best.ckpt")
    assert isinstance(loaded, Tone)
    made = loaded.generate(seconds=0.1, seed=1)
    assert made.shape == (1, 1, 800)
    assert torch.equal(md.generate(LAST, 0.1, seed=1), made)
    assert [path.name for path in md.sample(LAST, count=1, sampler=Scaled(steps=1))] == [
        "sample_0.wav"
    ]
    with pytest.raises(UserError, match="Option 'nope' is not accepted"):
        md.fit("toy.yaml", options={"model.nope": 1})
    with pytest.raises(UserError, match="no checkpoint at"):
        md.load("none.ckpt")
    assert {"load", "encode", "decode", "fit", "generate", "make_song", "fad"} <= set(dir(md))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = md.nothing


def test_objects_train_too(elsewhere):
    options = {"max_steps": 2, "logger": False, "accelerator": "cpu", "limit_val_batches": 1}
    model = md.fit(Tone(0.5, Scaled(steps=3)), Clips(), options=options, name="mine")
    assert Path(LAST).is_file() and model.trainer.global_step == 2
    assert {*ALWAYS} <= {type(callback) for callback in model.trainer.callbacks}  # type: ignore[attr-defined]
    loaded = md.load(LAST)
    assert isinstance(loaded, Tone) and loaded.learning_rate == 0.5
    assert loaded.sampler == Scaled(steps=3)
    md.fit(Tone(0.5), Clips(), options=options | {"max_steps": 3}, ckpt_path="last")
    assert torch.load(LAST, weights_only=True)["global_step"] == 3
    torch.save({"state_dict": {}}, "bad.ckpt")
    with pytest.raises(UserError, match="bad.ckpt is damaged: it has no loops of a run"):
        md.fit(Tone(0.5), Clips(), options=options, ckpt_path="bad.ckpt")


def test_loggers_get_plain_settings_of_objects_and_nothing_of_a_codec(elsewhere):
    class WithCodec(Tone):
        def __init__(self, codec: torch.nn.Module | None = None):
            super().__init__()
            self.save_settings()

    from tests.music_diffusion.toy import Clips

    small = {"max_steps": 1, "accelerator": "cpu", "limit_val_batches": 0}
    for number, model in enumerate((Tone(0.5), WithCodec(torch.nn.Linear(3, 3)))):
        options = small | {"logger": CSVLogger(elsewhere, version=number)}
        md.fit(model, Clips(), options=options)
    logged = [elsewhere / f"lightning_logs/version_{n}/hparams.yaml" for n in (0, 1)]
    assert "learning_rate: 0.5" in logged[0].read_text()
    assert not logged[1].exists() or "Linear" not in logged[1].read_text()
    with pytest.raises(UserError, match="data is missing"):
        md.fit(Tone(0.5))


def test_a_checkpoint_imports_nothing_from_outside(trained, elsewhere, capsys):
    content = torch.load(trained, weights_only=True)
    for name in ("http.client.HTTPConnection", "os.system", "antigravity.fly", "own_gone.Model"):
        content["hyper_parameters"]["_class_path"] = name
        torch.save(content, "bad.ckpt")
        with pytest.raises(UserError, match="from outside this project|needs the class own_gone"):
            md.load("bad.ckpt")
    content["hyper_parameters"] |= {"_class_path": "tests.music_diffusion.toy.Tone"}
    content["hyper_parameters"]["sampler"] = "subprocess.getoutput"
    torch.save(content, "bad.ckpt")
    with pytest.raises(UserError, match="names subprocess.getoutput, from outside this project"):
        md.load("bad.ckpt")
