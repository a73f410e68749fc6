"""A song through the command line, with models that it trained."""

import pytest
import torch

from audio import files as audio
from music_diffusion.commands import main as cli
from tests.jbdiff.songs import RATE

pytestmark = pytest.mark.usefixtures("command_line")

LEVEL = ["--config", "configs/jbdiff.yaml", "--config", "configs/jbdiff_tiny.yaml"]
LEVEL += ["--model.net.channels=[64,64]", "--model.net.factors=[1,2]", "--model.net.items=[1,1]"]
LEVEL += ["--model.net.attentions=[0,0]", "--model.net.cross_attentions=[0,1]"]
LEVEL += ["--model.base_tokens=64", "--model.sampler.steps=2", "--model.net.modulation_features=32"]
STEREO = ["--config", "configs/dance.yaml", "--config", "configs/dance_tiny.yaml"]
STEREO += ["--model.net.depth=3", "--model.net.c_mults=[32,32,32]", "--model.length=8192"]


@pytest.mark.slow
def test_trained_models_make_a_song_on_the_command_line(music, tmp_path, capsys):
    names = ["level_2", "level_1", "level_0", "dance"]
    settings = []
    for name in names:
        options = STEREO if name == "dance" else [*LEVEL, f"--model.jb_level={name[-1]}"]
        options += ["--data", "datamodules.wav.WavDataModule", "--data.audio", str(music)]
        options += ["--data.batch_size=1", "--trainer.logger=false", "--trainer.max_steps=1"]
        options += ["--trainer.limit_val_batches=0", "--data.val_windows=1"]
        options += [f"--trainer.default_root_dir={tmp_path / name}", "--trainer.accelerator=cpu"]
        assert cli.main(["fit", *options]) == 0, capsys.readouterr().err
        settings += [f"--{name}.checkpoint={tmp_path / name}/checkpoints/last.ckpt"]
        settings += [f"--{name}.sampler.steps=3"]
    settings += ["--seconds=0.1", "--accelerator=cpu", f"--context_audio={music}/0.wav"]
    sample = ["sample", "jbdiff", "--config", "configs/song.yaml", "--level_1.sampler=DPM"]
    assert cli.main([*sample, *settings, f"--out={tmp_path}/a"]) == 0, capsys.readouterr().err
    made = audio.read(tmp_path / "a" / "song.wav")
    assert made.shape == (2, round(0.1 * RATE)) and not torch.equal(made[0], made[1])
    again = ["--config", f"{tmp_path}/a/settings.json", f"--out={tmp_path}/b"]
    assert cli.main(["sample", "jbdiff", *again]) == 0, capsys.readouterr().err
    for path in sorted((tmp_path / "a").glob("*.wav")):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    wrong = f"--level_1.checkpoint={tmp_path}/dance/checkpoints/last.ckpt"
    assert cli.main([*sample, *settings, wrong, f"--out={tmp_path}/c"]) == 2
    assert "level_1.checkpoint must be of a level's model" in capsys.readouterr().err
