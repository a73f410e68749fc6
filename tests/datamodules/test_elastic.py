"""A run that resumes on another number of processes is the run that one process makes."""

import json
import logging
import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import StepCheckpoint
from callbacks.loop_counts import LoopCounts
from datamodules.data_order import resumable_loader
from datamodules.global_batch import keep_global_batch
from tests.processes import CONTEXT, meeting_place


class Keys(Dataset):
    """Ten examples that say which they are."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        return torch.tensor(key)


class Data(LightningDataModule):
    """Steps of eight examples, in batches of two."""

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        keep_global_batch(self.trainer, 2, 8)

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        return resumable_loader(Keys(), self.trainer, 2)

    def val_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        return resumable_loader(Keys(), self.trainer, 2, shuffle=False)


class Noisy(LightningModule):
    """Follow examples and noise; keep which examples came in which step."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.seen: list[list[int]] = []
        self.validated: list[int] = []

    def training_step(self, keys: Tensor, batch_idx: int) -> Tensor:
        self.seen += [[self.global_step, *key] for key in keys.tolist()]
        target = keys.sum(1, keepdim=True) + torch.rand(len(keys), 3)
        return (self.weight - target).square().sum(1).mean()

    def validation_step(self, keys: Tensor, batch_idx: int) -> None:
        pass

    def on_validation_end(self) -> None:
        self.validated.append(self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def fit(root: Path, steps: int, processes: int, resumed: str | None = None) -> Noisy:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        default_root_dir=root,
        max_steps=steps,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[BatchSeed(), LoopCounts(), StepCheckpoint(every_n_steps=3, keep=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    module = Noisy()
    trainer.fit(module, Data(), ckpt_path=resumed)
    return module


def rank(number: int, place: dict[str, str], args: tuple) -> None:
    os.environ |= {"LOCAL_RANK": str(number)} | place
    module = fit(*args)
    (args[0] / f"seen_{number}.json").write_text(json.dumps(module.seen))


def fit_together(root: Path, steps: int, processes: int, resumed: str | None = None) -> list:
    """Train on several processes; return what they saw."""
    with meeting_place() as place:
        args = (root, steps, processes, resumed)
        ranks = [CONTEXT.Process(target=rank, args=(n, place, args)) for n in range(processes)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
            assert process.exitcode == 0
    seen = [json.loads((root / f"seen_{number}.json").read_text()) for number in range(processes)]
    return sum(seen, [])


def weights(root: Path, step: int) -> dict:
    content = torch.load(root / f"checkpoints/step_{step:08d}.ckpt", weights_only=True)
    return {"now": content["state_dict"], "adam": content["optimizer_states"][0]["state"][0]}


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[Path, Noisy]:
    root = tmp_path_factory.mktemp("straight")
    return root, fit(root, 9, 1)


def test_two_processes_and_then_one_or_four_are_one(tmp_path, straight):
    root, whole = straight
    assert len(whole.seen) == 72 and len({tuple(key) for _, *key in whole.seen}) == 72
    first = fit_together(tmp_path / "two", 3, 2)
    at_three = str(tmp_path / "two/checkpoints/step_00000003.ckpt")
    alone = fit(tmp_path / "one", 9, 1, at_three)
    assert sorted(first + alone.seen) == sorted(whole.seen)
    assert alone.validated == [4, 6, 8] and whole.validated == [2, 4, 6, 8]
    for path, step in ((tmp_path / "two", 3), (tmp_path / "one", 6), (tmp_path / "one", 9)):
        torch.testing.assert_close(weights(path, step), weights(root, step), rtol=1e-5, atol=1e-6)
    rest = fit_together(tmp_path / "four", 9, 4, at_three)
    assert sorted(first + rest) == sorted(whole.seen)
    torch.testing.assert_close(
        weights(tmp_path / "four", 9), weights(root, 9), rtol=1e-5, atol=1e-6
    )


def test_a_step_of_another_size_is_told_and_no_example_is_lost(tmp_path, straight, caplog):
    root, whole = straight
    caplog.set_level(logging.WARNING, "datamodules")
    resumed = str(root / "checkpoints/step_00000003.ckpt")
    module = Noisy()
    trainer = Trainer(
        accelerator="cpu", max_steps=6, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, limit_val_batches=0, use_distributed_sampler=False,
        callbacks=[BatchSeed(), LoopCounts()],
    )  # fmt: skip
    trainer.fit(module, train_dataloaders=resumable_loader(Keys(), trainer, 2), ckpt_path=resumed)
    assert "a step has 2 examples now, it had 8: --data.global_batch 8 keeps it" in caplog.text
    assert [key for _, *key in module.seen] == [key for _, *key in whole.seen[24:30]]
