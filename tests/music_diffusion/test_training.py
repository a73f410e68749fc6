"""fit, validate, test and predict through the command line, with a model of one weight."""

import json
import logging
import os
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger

import music_diffusion as md
from audio import files as audio
from callbacks.fad import FAD
from datamodules.token_data import TokenDataModule
from datamodules.wav import WavDataModule
from foundation.errors import MissingFileError, UserError
from metrics.vggish import VGGish
from music_diffusion.commands import main as cli
from music_diffusion.commands import trainer as trainers
from music_diffusion.commands.runs import find_checkpoint, folder_of, runs_below
from music_diffusion.commands.training import train
from tests.music_diffusion.toy import Clips, Tone

RUNS = Path("runs")


def only_run() -> Path:
    (run,) = RUNS.iterdir()
    return run


def step(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def test_a_run_has_a_folder_named_by_the_time_and_last_finds_the_newest(fit, capsys):
    fit()
    first = only_run()
    assert first.name.startswith("20") and step(first / "checkpoints/last.ckpt") == 4
    names = {path.name for path in first.iterdir()} - {".lock"}
    page = {"index.html", "curves.csv", "provenance.json"}
    assert names == {"checkpoints", "config.yaml", "demos"} | page
    text = (first / "index.html").read_text()
    assert "demos/step_00000004/sample_0.wav" in text and "val/loss" in text
    assert "class_path: tests.music_diffusion.toy.Tone" in text and "&quot;commit&quot;" in text
    fit("--name", "mine")
    fit("--ckpt_path", "last", "--trainer.max_steps", "6")
    assert step(RUNS / "mine/checkpoints/last.ckpt") == 6
    assert step(first / "checkpoints/last.ckpt") == 4
    assert "at step 6; checkpoints are in runs/mine/checkpoints" in capsys.readouterr().out


class Outside(CSVLogger):
    """Starts a run somewhere else."""

    started = 0

    @property
    def experiment(self):
        self.started += 1
        return super().experiment


MISTAKES = {
    "labels": lambda: WavDataModule("music", labels=["genre"]),
    "short": lambda: WavDataModule("music", short="skip"),
    "window": lambda: TokenDataModule(tokens="nowhere"),
}


@pytest.mark.parametrize("data", MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_in_data_are_found_before_a_logger_starts_and_leave_nothing(data, elsewhere):
    for index in range(2):
        audio.write(Path(f"music/{index}.wav"), torch.zeros(1, 50), 8000)
    logger = Outside(elsewhere / "logs")
    with pytest.raises(UserError):
        md.fit(Tone(), data(), options={"logger": logger, "max_steps": 1, "accelerator": "cpu"})
    assert not logger.started and not RUNS.exists() and not (elsewhere / "logs").exists()


def test_a_wrong_embedding_is_found_before_a_logger_starts(elsewhere):
    logger = Outside(elsewhere / "logs")
    wrong = FAD(embedding=partial(VGGish, "nowhere.pth"))
    with pytest.raises(UserError, match="no weights at nowhere.pth"):
        md.fit(Tone(), Clips(), options={"logger": logger, "callbacks": [wrong]})
    assert not logger.started and not RUNS.exists()


def test_a_configs_wrong_embedding_is_found_before_a_logger_starts(fit):
    wrong = "{class_path: VGGish, init_args: {path: nowhere.pth}}"
    loggers = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs"]
    fad = ["--trainer.callbacks+=callbacks.fad.FAD", f"--trainer.callbacks.embedding={wrong}"]
    fit(*loggers, *fad, status=2)
    assert not Path("logs").exists() and not RUNS.exists()


def test_a_logger_starts_once_all_is_known(elsewhere):
    logger = Outside(elsewhere / "logs")
    options = {"logger": logger, "max_steps": 1, "accelerator": "cpu", "callbacks": []}
    md.fit(Tone(), Clips(), options=options)
    assert "learning_rate: 0.1" in Path(logger.log_dir, "hparams.yaml").read_text()


@pytest.mark.parametrize("options", [{"learning_rate": -1.0}, {"learning_rate": float("nan")}])
def test_a_models_settings_are_checked_where_it_is_made(options):
    with pytest.raises(UserError, match="learning_rate must be at least 0"):
        Tone(**options)


def test_a_path_resumes_in_its_own_folder(fit):
    fit("--name", "mine")
    fit("--ckpt_path", "runs/mine/checkpoints/step_00000004.ckpt", "--trainer.max_steps", "6")
    assert only_run().name == "mine" and step(RUNS / "mine/checkpoints/last.ckpt") == 6
    assert not (RUNS / "mine" / "earlier_1").exists()


def test_resuming_is_exact(fit):
    fit("--name", "straight", "--trainer.max_steps", "12")
    fit("--name", "cut", "--trainer.max_steps", "8")  # an epoch
    fit("--name", "cut", "--ckpt_path", "last", "--trainer.max_steps", "12")
    one, other = (
        torch.load(RUNS / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("straight", "cut")
    )
    assert torch.equal(one["state_dict"]["weight"], other["state_dict"]["weight"])
    assert torch.equal(one["current_model_state"]["weight"], other["current_model_state"]["weight"])


def test_a_root_of_ones_own_is_obeyed(fit, elsewhere, capsys):
    fit("--trainer.default_root_dir", "here")
    assert (elsewhere / "here/checkpoints/last.ckpt").exists() and not RUNS.exists()
    fit("--trainer.default_root_dir", "here", "--name", "mine", status=2)
    assert "--name or --trainer.default_root_dir" in capsys.readouterr().err


def test_the_same_name_again_keeps_the_run_before(fit):
    fit("--name", "mine")
    fit("--name", "mine", "--trainer.max_steps", "2")
    assert step(RUNS / "mine/earlier_1/checkpoints/last.ckpt") == 4
    assert step(RUNS / "mine/checkpoints/last.ckpt") == 2


def test_a_job_of_a_cluster_has_one_folder(fit, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv(
        "SLURM_JOB_NAME", "bash"
    )  # as interactive jobs, which Lightning leaves alone
    fit()
    assert only_run().name == "job_77"


def test_runs_in_folders_of_runs_are_found_and_earlier_ones_are_not(fit, capsys):
    fit("--name", "first")
    fit("--name", "set/a")
    fit("--ckpt_path", "last", "--trainer.max_steps", "6")
    assert step(RUNS / "set/a/checkpoints/last.ckpt") == 6
    assert list(runs_below(RUNS)) == [RUNS / "first", RUNS / "set/a"]
    fit("--name", "set/a", "--trainer.max_steps", "2")
    assert (RUNS / "set/a/earlier_1/checkpoints").is_dir()
    assert list(runs_below(RUNS)) == [RUNS / "first", RUNS / "set/a"]
    fit("--name", ".", status=2)
    assert "--name . isn't a name in runs" in capsys.readouterr().err


def test_a_seed_beyond_what_training_takes_is_named(fit, capsys):
    fit("--seed_everything", str(2**70), status=2)
    assert (
        "a seed must be at least 0 and at most 4294967295, or -1 for one" in capsys.readouterr().err
    )


def test_a_config_with_two_loggers_given_again_has_both(fit, elsewhere):
    loggers = "[CSVLogger, {class_path: TensorBoardLogger, init_args: {name: other}}]"
    fit("--name=mine", "--trainer.max_steps=1", f"--trainer.logger={loggers}")
    written = yaml.safe_load((RUNS / "mine/config.yaml").read_text())["trainer"]["logger"]
    assert [one["class_path"].rpartition(".")[2] for one in written] == [
        "CSVLogger",
        "TensorBoardLogger",
    ]
    assert cli.main(["fit", "--config", "runs/mine/config.yaml", "--name", "again"]) == 0
    assert {path.name for path in (RUNS / "again").iterdir()} >= {"lightning_logs", "other"}


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr("time.strftime", lambda form: "now")
    for name in ("now", "now_2", "now_3"):
        assert folder_of(None, None, None) == f"runs/{name}"
        Path("runs", name).mkdir(parents=True)


def test_a_run_without_last_names_the_checkpoint_that_it_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/killed/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/killed/checkpoints/best.ckpt").touch()
    with pytest.raises(MissingFileError, match="give runs/killed/checkpoints/best.ckpt, a run's"):
        find_checkpoint("last", "killed")


def test_without_a_checkpoint_last_and_best_say_where_was_looked(fit, capsys):
    for which in ("last", "best"):
        fit("--ckpt_path", which, status=2)
        assert f"there is no {which}.ckpt in the runs in runs" in capsys.readouterr().err
        fit("--ckpt_path", which, "--name", "mine", status=2)
        assert f"there is no {which}.ckpt in runs/mine" in capsys.readouterr().err
    fit("--ckpt_path", "hpc", status=2)
    assert "--ckpt_path hpc: no cluster's job has saved in here" in capsys.readouterr().err


LIMITS = {
    "option": (["--trainer.limit_{}_batches", "1"], None),
    "option=": (["--trainer.limit_{}_batches=1"], None),
    "yaml": ([], "trainer: {{limit_{}_batches: 1}}"),
}


@pytest.mark.parametrize("way", LIMITS)
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_one_batch_is_one_batch_in_every_way_of_saying_it(command, way, elsewhere):
    options, text = LIMITS[way]
    loop = {"fit": "train", "validate": "val"}.get(command, command)
    args = ["--config", "toy.yaml", "--name", "one", "--trainer.max_steps", "1"]
    args += [option.format(loop) for option in options]
    if text:
        (elsewhere / "limit.yaml").write_text(text.format(loop))
        args += ["--config", "limit.yaml"]
    args += ["--trainer.val_check_interval", "1"] if command == "fit" else []
    done = train(command, args).trainer
    counts = {
        "fit": lambda: done.num_training_batches,
        "validate": lambda: sum(done.num_val_batches),
        "test": lambda: sum(done.num_test_batches),
        "predict": lambda: sum(done.num_predict_batches),
    }
    assert counts[command]() == 1
    if command == "predict":
        assert len(list((RUNS / "one" / "predictions").iterdir())) == 1


def test_a_share_of_the_batches_is_a_share(elsewhere):
    options = ["--config", "toy.yaml", "--trainer.limit_val_batches"]
    for value, count in (("1.0", 8), ("0.5", 4), ("2", 2)):
        assert sum(train("validate", [*options, value]).trainer.num_val_batches) == count


class Device:
    type = "cuda"


def test_precision_follows_the_device(fit, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    assert train("fit", ["--config", "toy.yaml"]).trainer.precision == "32-true"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: Device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert trainers.resolve_precision("auto", "auto") == "bf16-mixed"
    assert trainers.resolve_precision("32-true", "auto") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert trainers.resolve_precision("auto", "gpu") == "32-true"
    for has, precision in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(trainers, "cpu_has_bf16", lambda has=has: has)
        assert trainers.resolve_precision("fast", "cpu") == precision
        assert trainers.resolve_precision("auto", "cpu") == "32-true"


def test_an_explicit_precision_is_obeyed_with_a_warning_where_it_is_slow(fit, monkeypatch, capfd):
    monkeypatch.setattr(trainers, "cpu_has_bf16", lambda: False)
    fit("--trainer.precision", "bf16-mixed", "--name", "slow")
    assert "this CPU has no instructions for bfloat16" in capfd.readouterr().err
    assert yaml.safe_load((RUNS / "slow/config.yaml").read_text())["trainer"]["precision"] == (
        "bf16-mixed"
    )
    monkeypatch.setattr(trainers, "cpu_has_bf16", lambda: True)
    fit("--trainer.precision", "bf16-mixed")
    assert "bfloat16" not in capfd.readouterr().err
    fit()
    assert capfd.readouterr().err.count("precision: float32 on cpu") == 1


@pytest.mark.parametrize("name", ["CSVLogger", "TensorBoardLogger"])
def test_loggers_work_by_their_short_names_in_the_runs_folder(name, fit):
    fit("--trainer.logger", name, "--trainer.log_every_n_steps", "1", "--name", "mine")
    (log,) = (RUNS / "mine" / "lightning_logs" / "version_0").glob("[em][ve]*")
    assert log.name == "metrics.csv" or log.name.startswith("events")
    assert (RUNS / "mine" / "config.yaml").exists()


def test_loggers_with_a_folder_of_their_own_keep_it(fit, elsewhere):
    path = "lightning.pytorch.loggers.CSVLogger"
    fit("--trainer.logger", path, "--trainer.logger.save_dir", "logs", "--name", "mine")
    assert (elsewhere / "logs/lightning_logs/version_0").is_dir()


def test_a_resumed_wandb_run_goes_on_in_the_same_run(fit, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    fit("--trainer.logger", "WandbLogger", "--name", "mine")
    known = torch.load(RUNS / "mine/checkpoints/last.ckpt", weights_only=True)["wandb_id"]
    fit("--trainer.logger", "WandbLogger", "--ckpt_path", "last", "--trainer.max_steps", "6")
    again = torch.load(RUNS / "mine/checkpoints/last.ckpt", weights_only=True)["wandb_id"]
    assert known == again
    folders = [path.name for path in (RUNS / "mine/wandb").glob("offline-run-*")]
    assert folders and all(name.endswith(known) for name in folders)


def test_a_checkpoint_says_what_it_was_made_with(fit):
    fit("--name", "mine", "--seed_everything", "5")
    made = torch.load(RUNS / "mine/checkpoints/last.ckpt", weights_only=True)["provenance"]
    assert made["seed"] == 5 and made["data"]["tracks"] == 16
    assert {"version", "commit", "command", "time"} <= made.keys()
    json.dumps(made)


def test_only_training_writes_the_settings(fit, capsys):
    fit("--name", "mine")
    config = RUNS / "mine/config.yaml"
    before = config.read_text()
    last = ["--ckpt_path", "last", "--model.learning_rate", "9"]
    assert cli.main(["validate", "--config", "toy.yaml", *last]) == 0
    fit("--name", "mine", "--trainer.max_stepz", "3", status=2)
    assert config.read_text() == before
    assert (RUNS / "mine/demos/validate_last").is_dir()


def test_a_runs_config_given_again_starts_a_new_run(fit, monkeypatch, capfd):
    fit("--name", "mine")
    fit("--name", "mine", "--ckpt_path", "last", "--trainer.max_steps", "6", "--seed_everything=9")
    config = yaml.safe_load((RUNS / "mine/config.yaml").read_text())
    assert (config["ckpt_path"], config["name"]) == (None, None)
    assert config["seed_everything"] == 9 and config["trainer"]["max_steps"] == 6
    assert cli.main(["fit", "--config", "runs/mine/config.yaml", "--name", "again"]) == 0
    assert "Restored" not in capfd.readouterr().err
    assert step(RUNS / "again/checkpoints/last.ckpt") == 6
    assert not list(RUNS.glob("*/earlier_1"))


def test_a_learning_rate_set_at_resume_is_used(fit, capfd):
    fit("--name", "mine")
    fit("--ckpt_path=last", "--model.learning_rate=0.003", "--trainer.max_steps=6")
    assert "resumed with learning rate 0.003, which was 0.1" in capfd.readouterr().err
    saved = torch.load(RUNS / "mine/checkpoints/last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == 0.003
    fit("--ckpt_path=last", "--model.sampler.size=0.5", "--trainer.max_steps=8")
    said = capfd.readouterr().err
    assert "resumed with model.sampler.size 0.5, which was 0.1" in said
    assert said.count("which was") == 1 + said.count("resumed with learning rate")


def test_predict_says_where_nothing_will_be_written(fit, capsys):
    fit("--name", "mine", "--trainer.max_steps=1")
    without = ["--trainer.callbacks=[callbacks.ema.EMA]", "--trainer.limit_predict_batches=1"]
    assert cli.main(["predict", "--config", "toy.yaml", "--ckpt_path=last", *without]) == 0
    assert "no callbacks.demo.Demo is in the config" in capsys.readouterr().out


def test_a_checkpoint_of_another_model_is_refused(fit, elsewhere, capsys):
    content = {"state_dict": {}, "loops": {}, "hyper_parameters": {"_class_path": "a.B"}}
    torch.save(content, "other.ckpt")
    fit("--ckpt_path", "other.ckpt", status=2)
    assert "other.ckpt is of model a.B, the config's is" in capsys.readouterr().err


FORMS = [
    ({"loops": 3}, "it has no loops of a run"),
    ({"loops": {"fit_loop": {}}}, "its loops have no validate_loop"),
    ({"epoch": None}, "it has no epoch of a run"),
    ({"optimizer_states": {}}, "it has no optimizer_states of a run"),
]


@pytest.mark.parametrize(("change", "words"), FORMS)
def test_a_checkpoint_of_another_form_is_refused(fit, change, words, capsys):
    fit("--name", "mine", "--trainer.max_steps", "1")
    last = RUNS / "mine/checkpoints/last.ckpt"
    torch.save(torch.load(last, weights_only=True) | change, "bad.ckpt")
    fit("--ckpt_path", "bad.ckpt", status=2)
    assert f"bad.ckpt is damaged: {words}" in capsys.readouterr().err


def test_an_error_in_a_users_class_keeps_its_traceback(fit):
    with pytest.raises(ValueError, match="an error in a class of the user's"):
        fit("--model.bad", "true")


@pytest.mark.parametrize("option", ["--model=own_bad.Model", "--trainer.callbacks+=own_bad.Call"])
def test_an_error_in_a_users_constructor_shows_its_line(option, fit):
    Path("own_bad.py").write_text(BAD)
    with pytest.raises(ValueError, match="^no such value$") as caught:
        fit(option)
    assert Path(caught.traceback[-1].path).name == "own_bad.py" and caught.value.__cause__ is None


BAD = """
from lightning.pytorch import Callback
from tests.music_diffusion.toy import Tone
class Model(Tone):
    def __init__(self):
        raise ValueError("no such value")
class Call(Callback):
    def __init__(self):
        raise ValueError("no such value")
"""
OWN = """
from tests.music_diffusion.toy import Tone
class Mine(Tone):
    pass
"""


def test_classes_beside_the_config_are_found_and_missing_ones_say_where_was_looked(
    elsewhere, capsys
):
    Path("sub").mkdir()
    Path("sub/own_model_a.py").write_text(OWN)
    Path("sub/own.yaml").write_text(
        Path("toy.yaml").read_text().replace("tests.music_diffusion.toy.Tone", "own_model_a.Mine")
    )
    assert cli.main(["fit", "--config", "sub/own.yaml", "--name", "own"]) == 0
    text = Path("toy.yaml").read_text()
    Path("none.yaml").write_text(text.replace("tests.music_diffusion.toy.Tone", "own_none.Mine"))
    assert cli.main(["fit", "--config", "none.yaml"]) == 2
    error = capsys.readouterr().err
    assert "own_none" in error and f"the current folder {os.getcwd()}" in error


def test_a_users_folder_hides_none_of_ours(elsewhere):
    Path("metrics").mkdir()
    Path("metrics/__init__.py").write_text("raise RuntimeError('the wrong metrics')")
    assert cli.main(["fit", "--config", "toy.yaml", "--name", "own"]) == 0
