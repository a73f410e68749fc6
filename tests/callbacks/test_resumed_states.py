"""What a checkpoint holds for the parts of a run is of their kind, and leads nowhere else."""

import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from callbacks.resumed_states import ResumedStates
from foundation.errors import UserError
from music_diffusion.commands.error_lines import RESTORING, explain
from tests.callbacks.toy import Toy
from tests.fuzz.run_states import make_states, plain, resume_states, tensors


def train(steps: int, resumed: str | None = None) -> None:
    keeper = ModelCheckpoint(
        "run/checkpoints", monitor="val/loss", save_top_k=1, save_last=True, every_n_train_steps=1
    )
    options = {"limit_val_batches": 1, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=steps,
        val_check_interval=1,
        callbacks=[keeper, ResumedStates()],
        **options,
        **quiet,
    )
    loader = DataLoader(torch.zeros(8, 1), batch_size=2)
    trainer.fit(Toy(), loader, loader, ckpt_path=resumed)


@pytest.mark.parametrize("key", ["best_k_models", "best_model_path", "last_model_path"])
@pytest.mark.parametrize("path", ["HERE/run/checkpoints/../../photos", "s3://bucket/photos"])
def test_a_path_that_leads_out_of_the_run_is_refused(key, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(2)
    train(3, "run/checkpoints/last.ckpt")  # what Lightning wrote itself is read
    Path("photos").mkdir()
    Path("photos/holiday.jpg").touch()
    content = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    (state,) = (s for name, s in content["callbacks"].items() if "ModelCheckpoint" in name)
    path = path.replace("HERE", str(tmp_path))
    state[key] = {path: torch.tensor(-1e9)} if key == "best_k_models" else path
    torch.save(content, "bad.ckpt")
    with pytest.raises(UserError, match="photos for ModelCheckpoint.*out of the run's folder"):
        train(5, "bad.ckpt")
    assert Path("photos/holiday.jpg").exists()


def counts(content: dict) -> dict:
    return content["loops"]["fit_loop"]["epoch_progress"]


def averages(content: dict) -> dict:
    return content["optimizer_states"][0]["state"][0]


DAMAGE = {
    "average of another shape": lambda c: averages(c).update(exp_avg=torch.zeros(1)),
    "average lost": lambda c: averages(c).pop("exp_avg_sq"),
    "average is a text": lambda c: averages(c).update(exp_avg="x"),
    "weight that isn't there": lambda c: c["optimizer_states"][0]["state"].update({7: {}}),
    "optimiser lost": lambda c: c.update(optimizer_states=[]),
    "learning rate lost": lambda c: c["optimizer_states"][0]["param_groups"][0].pop("lr"),
    "betas": lambda c: c["optimizer_states"][0]["param_groups"][0].update(betas=(0.9,)),
    "beta of 1": lambda c: c["optimizer_states"][0]["param_groups"][0].update(betas=(0.9, 1.0)),
    "step below 0": lambda c: averages(c).update(step=torch.tensor(-1.0)),
    "steps": lambda c: averages(c).update(step=torch.zeros(2)),
    "count is a text": lambda c: counts(c)["total"].update(ready="x"),
    "count below 0": lambda c: counts(c)["total"].update(ready=-1),
    "count lost": lambda c: counts(c).pop("total"),
    "schedule": lambda c: c["lr_schedulers"][0].update(base_lrs="x"),
    "schedule's method": lambda c: c["lr_schedulers"][0].update(get_lr=5),
    "callback's count": lambda c: c["callbacks"]["NonFinite"].update(skipped="x"),
    "callback's count lost": lambda c: c["callbacks"].update(NonFinite={"other": 1}),
    "settings before": lambda c: c["callbacks"]["OptimizerSettings"].update(configured=[5, 5]),
    "weights": lambda c: c["current_model_state"].clear(),
}


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> Path:
    return make_states(tmp_path_factory.mktemp("states"))


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_deep_inside_a_checkpoint_is_a_line(what, states, tmp_path):
    path = tmp_path / "states.json"
    content = tensors(json.loads(states.read_text()))
    DAMAGE[what](content)
    path.write_text(json.dumps(plain(content)))
    with pytest.raises(UserError, match="resume an earlier one"):
        resume_states(path)


def test_an_error_in_a_users_own_callback_keeps_its_traceback():
    """Lightning calls it while a checkpoint is restored."""
    frames = {"__name__": RESTORING}
    exec("def restore_callbacks(load): load()", frames)

    for module, line in (("torch.optim.adam", True), ("mylab", False)):
        namespace = {"__name__": module}
        exec("def call(): raise KeyError('mine')", namespace)
        with pytest.raises(KeyError) as caught:
            frames["restore_callbacks"](namespace["call"])
        assert (explain(caught.value) is not None) == line
