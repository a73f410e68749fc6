"""Nine kinds of extension, used from a folder outside the repository through the command line."""

import json
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import soundfile
import torch

from tests.processes import run_commands

ROOT = Path(__file__).parents[2]
QUICK = ["--trainer.val_check_interval=2", "--trainer.accelerator=cpu", "--data.batch_size=2"]
QUICK += ["--trainer.enable_progress_bar=false"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Path:
    """A copy of examples/mylab, and some music: pure tones with noise."""
    folder = tmp_path_factory.mktemp("outside") / "lab"
    shutil.copytree(ROOT / "examples" / "mylab", folder)
    (folder / "music" / "loud").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for i in range(4):
        tone = torch.sin(torch.arange(66150) * (0.02 + 0.01 * i))
        audio = 0.3 * tone + 0.05 * torch.randn(66150, generator=generator)
        soundfile.write(folder / "music" / "loud" / f"{i}.wav", audio.numpy(), 22050)
    return folder


def test_the_snippets_of_the_docs_are_mylab_s_and_need_the_imports_that_they_name(monkeypatch):
    imports, *snippets = re.findall(
        "```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL
    )
    ours = (ROOT / "examples" / "mylab" / "mylab.py").read_text()
    assert len(snippets) == 9 and all(one in ours for one in snippets)
    module = ModuleType("snippets")
    monkeypatch.setitem(sys.modules, "snippets", module)  # where dataclasses look
    exec(imports, module.__dict__)
    imported = {*module.__dict__}
    exec("\n".join(snippets), module.__dict__)
    words = {*re.findall(r"\w+", " ".join(snippets))}
    assert {name for name in imported if not name.startswith("__")} <= words


def test_a_velocity_network_and_an_objective_of_latents_train_a_level(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "mylab")
    monkeypatch.delitem(sys.modules, "mylab", raising=False)
    lab = import_module("mylab")
    net, x, t = lab.Mixing(context_length=4, width=8), torch.randn(2, 128, 6), torch.rand(2)
    v = net(x, t, torch.randn(2, 128, 4))
    losses = lab.AbsoluteV().losses(net, x, torch.randn_like(x), t)
    assert v.shape == x.shape and losses.shape == t.shape and losses.requires_grad
    monkeypatch.delitem(sys.modules, "mylab")


def commands(lab: Path, *runs: list[str], status: int = 0) -> str:
    """Run commands one after another in one fresh process, in the folder of the lab."""
    log = lab.parent / "output.txt"
    log.unlink(missing_ok=True)
    result = run_commands(runs, lab, log)
    assert result == status, log.read_text()
    return log.read_text()


def test_parts_of_sedd_are_trained_resumed_sampled_exported_and_scored(lab):
    last = "runs/mine/checkpoints/last.ckpt"
    fit = ["fit", "--config=sedd.yaml", "--data.audio=music", "--name=mine", *QUICK]
    commands(
        lab,
        [*fit, "--trainer.max_steps=2"],
        [*fit, "--trainer.max_steps=4", "--ckpt_path=last"],
    )
    diary = (lab / "runs" / "mine" / "diary.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in diary] == ["step 2", "step 4"]  # the callback
    assert "fad/bands" in (lab / "runs" / "mine" / "fad.csv").read_text()  # embedding, codec
    sample = ["sample", last, "--out=samples", "--seconds=1.5", "--count=2"]
    commands(  # a fresh process finds the classes by their paths in the checkpoint alone
        lab,
        sample,
        [*sample, "--sampler=mylab.MostCertain", "--sampler.steps=3", "--seed=5"],
        [*sample, "--sampler=Analytic", "--sampler.steps=3"],
        ["export", last, "--out=exported"],
        ["sample", "exported", "--out=again", "--seconds=1.5", "--count=2"],
        ["fad", "music", "samples", "--embedding=mylab.Bands"],
    )
    made = [soundfile.read(lab / out / "sample_1.wav")[0] for out in ("samples", "again")]
    assert len(made[0]) >= 1.4 * 22050 and (made[0] == made[1]).all()  # exported weights are equal
    settings = json.loads((lab / "samples" / "sample_2.json").read_text())
    assert "mylab.MostCertain" in json.dumps(settings)


def test_a_model_of_ones_own_goes_the_same_way(lab):
    last = "runs/tones/checkpoints/last.ckpt"
    fit = ["fit", "--config=tones.yaml", "--data.audio=music", "--name=tones", *QUICK]
    commands(
        lab,
        [*fit, "--trainer.max_steps=2"],
        [*fit, "--trainer.max_steps=4", "--ckpt_path=last"],
        ["sample", last, "--out=tones", "--seconds=1", "--count=2", "--sampler=DPM"],
        ["export", last, "--out=exported_tones"],
        ["sample", "exported_tones", "--out=tones", "--seconds=1", "--count=1"],
    )
    assert len(list((lab / "tones").glob("*.wav"))) == 3


def test_a_class_that_cannot_be_found_says_where_was_looked(lab):
    fit = ["fit", "--config=sedd.yaml", "--data.audio=music", "--name=none", *QUICK]
    message = commands(lab, [*fit, "--model.noise=nolab.Cosine"], status=2)
    assert "nolab" in message and str(lab) in message
