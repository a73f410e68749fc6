"""Each option of Lightning's Trainer is tried once, with what users know to give."""

import inspect
import json
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

import music_diffusion as md
from audio import files as audio_files
from datamodules.wav import WavDataModule
from foundation.errors import UserError
from music_diffusion.commands import main as cli
from tests.music_diffusion.toy import Clips, Tone

OPTIONS = {
    "accelerator": ["cpu", "auto"],
    "strategy": ["auto", "ddp"],
    "devices": [1, "1", "auto"],
    "num_nodes": [1],
    "precision": ["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"],
    "logger": [True, False],
    "callbacks": [[]],
    "fast_dev_run": [True, 2],
    "max_epochs": [1, -1],
    "min_epochs": [1],
    "max_steps": [2],
    "min_steps": [1],
    "max_time": ["00:00:01:00", {"minutes": 1}],
    "limit_train_batches": [1, 0.5],
    "limit_val_batches": [1, 0.5, 0],
    "limit_test_batches": [1],
    "limit_predict_batches": [1],
    "overfit_batches": [2, 0.25],
    "val_check_interval": [1, 0.5, "00:00:01:00"],
    "check_val_every_n_epoch": [1],
    "num_sanity_val_steps": [0, -1],
    "log_every_n_steps": [1],
    "enable_checkpointing": [True],
    "enable_progress_bar": [True],
    "enable_model_summary": [True],
    "accumulate_grad_batches": [2],
    "gradient_clip_val": [0.5],
    "gradient_clip_algorithm": ["norm", "value"],
    "deterministic": [True, "warn"],
    "benchmark": [True],
    "inference_mode": [False],
    "use_distributed_sampler": [True],
    "profiler": ["simple", "advanced", "pytorch"],
    "detect_anomaly": [True],
    "plugins": [[]],
    "sync_batchnorm": [True],
    "reload_dataloaders_every_n_epochs": [1],
    "default_root_dir": ["here"],
    "enable_autolog_hparams": [False],
    "model_registry": ["toy"],
}
BAD = {  # refused in a line that names it
    "barebones": True,
    "enable_checkpointing": False,
    "accelerator": "gpux",
    "precision": "16-true",  # where Adam's eps is 0
    "strategy": "nonsense",
    "limit_val_batches": -1,
    "profiler": "nonsense",
    "gradient_clip_algorithm": "nonsense",
    "val_check_interval": 0,
    "check_val_every_n_epoch": 0,
    "accumulate_grad_batches": 0,
    "gradient_clip_val": -1.0,
}


class Listener(Tone):
    """Keeps what it trains on."""

    def __init__(self):
        super().__init__()
        self.heard: list[float] = []

    def training_step(self, batch, batch_idx):
        self.heard.append(batch["audio"].sum().item())
        return super().training_step(batch, batch_idx)


def fit(**options: object) -> Tone:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    small = {"max_steps": 2, "accelerator": "cpu", "limit_val_batches": 1}
    name = None if "default_root_dir" in options else "run"
    return md.fit(Tone(), Clips(), name=name, options=quiet | small | options)


def test_all_options_are_tried():
    assert OPTIONS.keys() | BAD.keys() >= inspect.signature(Trainer).parameters.keys() - {"self"}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OPTIONS.items() for value in values]
)
def test_an_option_of_the_trainer_works(name, value, elsewhere):
    more = {"check_val_every_n_epoch": None} if value == 1 and name == "val_check_interval" else {}
    model = fit(**{name: value}, **more)
    assert model.trainer.global_step in (1, 2) and model.weight.isfinite().all()
    saves = name != "fast_dev_run"
    assert (
        Path("here" if name == "default_root_dir" else "runs/run", "checkpoints").exists() == saves
    )


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_a_users_mistake(name, elsewhere):
    with pytest.raises(UserError):
        fit(**{name: BAD[name]})


def test_training_in_few_bits_says_what_it_costs(elsewhere, capsys):
    args = ["fit", "--config", "toy.yaml", "--trainer.precision"]
    assert cli.main([*args, "bf16-true"]) == 0
    assert "averages of 16 bits lose small steps" in capsys.readouterr().err
    assert cli.main([*args, "16-true"]) == 2
    words = "error: Adam's eps of 1e-08 is 0 in weights of torch.float16, where training would end"
    assert words in capsys.readouterr().err


def test_options_of_the_command_line_have_the_types_of_lightning(elsewhere):
    """All at once, because parsing takes a while."""
    alone = {"devices", "fast_dev_run", "callbacks", "plugins", "overfit_batches", "max_time"}
    alone |= {"use_distributed_sampler", "profiler", "default_root_dir", "logger", "precision"}
    args = ["fit", "--config", "toy.yaml", "--name", "run", "--trainer.overfit_batches", "2"]
    for name, values in OPTIONS.items():
        if name not in alone:
            value = values[0] if isinstance(values[0], str) else json.dumps(values[0])
            args += [f"--trainer.{name}", value]
    assert cli.main(args) == 0
    saved = torch.load("runs/run/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] in (1, 2)


def test_a_callback_with_an_enum_among_its_defaults_is_written(elsewhere):
    options = ["--trainer.callbacks+=Timer", "--trainer.callbacks.duration=00:00:01:00"]
    assert cli.main(["fit", "--config", "toy.yaml", "--name", "run", *options]) == 0
    written = yaml.safe_load(Path("runs/run/config.yaml").read_text())["trainer"]["callbacks"][-1]
    assert written["init_args"]["interval"] == "step"
    assert cli.main(["fit", "--config", "runs/run/config.yaml", "--name", "again"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.callbacks+=RichProgressBar"], "`rich` >= 10.2.2. Install it by running `pip"),
        (["--trainer.logger", "MLFlowLogger"], "Try running `pip install -U 'mlflow"),
        (["--trainer.precision", "transformer-engine"], "transformer_engine"),
    ],
)
def test_a_missing_package_is_a_line(options, words, elsewhere, capsys):
    assert cli.main(["fit", "--config", "toy.yaml", *options]) == 2
    assert words in capsys.readouterr().err


def test_the_place_of_checkpoints_is_true(elsewhere, capsys):
    args = ["fit", "--config", "toy.yaml", "--name", "run", "--config", "overlay.yaml"]
    logger = "--trainer.logger=CSVLogger"
    Path("overlay.yaml").write_text("trainer: {callbacks: [{class_path: LearningRateMonitor}]}")
    assert cli.main([*args, logger]) == 0
    where = "runs/run/lightning_logs/version_0/checkpoints"  # Lightning's
    assert f"checkpoints are in {where}\n" in capsys.readouterr().out
    assert list(Path(where).glob("*.ckpt"))
    assert cli.main([*args, logger, "--trainer.enable_checkpointing=false"]) == 0
    assert "at step 4; no checkpoint is saved: there is no callb" in capsys.readouterr().out


def test_a_callback_given_twice_is_named(elsewhere, capsys):
    args = ["fit", "--config", "toy.yaml", "--trainer.callbacks+=callbacks.demo.Demo"]
    assert cli.main([*args, "--trainer.callbacks.num_demos=1"]) == 2
    assert "trainer.callbacks: Demo is given twice" in capsys.readouterr().err


def test_a_training_without_a_step_says_that_it_has_no_checkpoint(elsewhere, capsys):
    args = ["fit", "--config", "toy.yaml", "--trainer.limit_train_batches", "0"]
    assert cli.main(args) == 0
    assert "at step 0; no checkpoint is saved: no step was made\n" in capsys.readouterr().out


def test_overfitting_repeats_its_batches(tmp_path):
    for index in range(3):
        noise = torch.rand(2, 4000, generator=torch.Generator().manual_seed(index)) - 0.5
        audio_files.write(tmp_path / f"music/{index}.wav", noise, 8000)
    model = Listener()
    data = WavDataModule(str(tmp_path / "music"), batch_size=1)
    options = {"overfit_batches": 2, "max_steps": 6, "logger": False, "accelerator": "cpu"}
    options |= {"callbacks": [], "enable_progress_bar": False, "enable_checkpointing": False}
    md.fit(model, data, options=options | {"default_root_dir": str(tmp_path)})
    first, second, *later = model.heard
    assert later == [first, second] * 2 and first != second
