"""A checkpoint can't make a run delete what lies outside it."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from callbacks.stored_paths import StoredPaths
from foundation.errors import UserError
from tests.callbacks.toy import Toy


def train(steps: int, resumed: str | None = None) -> None:
    keeper = ModelCheckpoint(
        "run/checkpoints", monitor="val/loss", save_top_k=1, save_last=True, every_n_train_steps=1
    )
    options = {"limit_val_batches": 1, "num_sanity_val_steps": 0, "accelerator": "cpu"}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_steps=steps, val_check_interval=1, callbacks=[keeper, StoredPaths()], **options, **quiet
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
