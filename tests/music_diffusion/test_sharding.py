"""Two processes that share the weights train as one that has them all."""

import json
import logging
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.demo import Demo
from callbacks.ema import EMA
from callbacks.loop_counts import LoopCounts
from callbacks.nonfinite import NonFinite
from datamodules.data_order import resumable_loader
from datamodules.global_batch import keep_global_batch
from foundation.errors import UserError
from music_diffusion.sharding import Sharded
from sedd.ddit import DDiT
from sedd.module import SEDD
from tests.callbacks.toy import Toy
from tests.datamodules.test_token_store import Coarse
from tests.processes import CONTEXT, meeting_place

NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8, dropout=0.1)


class Grids(Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(key[1])
        return {"tokens": torch.randint(8, (1, 16), generator=generator)}


class Data(LightningDataModule):
    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        keep_global_batch(self.trainer, 2, 4)

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        return resumable_loader(Grids(), self.trainer, 2)

    def val_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        return resumable_loader(Grids(), self.trainer, 2, shuffle=False)


def model() -> SEDD:
    torch.manual_seed(0)
    module = SEDD(Coarse(), net=NET, length=16, warmup_steps=1, learning_rate=0.01)
    for name in ("codec", "net", "graph", "noise", "objective"):
        module.hparams.pop(name)  # the command line saves class paths
    return module


def fit(root: Path, processes: int, resumed: str | None = None) -> SEDD:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=Sharded() if processes > 1 else "auto",
        default_root_dir=root,
        max_steps=4,
        gradient_clip_val=1.0,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,
        callbacks=[
            *(BatchSeed(), LoopCounts(), NonFinite(), EMA(0.5), BestCheckpoint()),
            *(StepCheckpoint(every_n_steps=1, keep=-1), Demo(num_demos=2, seconds=0.01)),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    module = model()
    trainer.fit(module, Data(), ckpt_path=resumed)
    return module


def rank(number: int, place: dict[str, str], root: Path, resumed: str | None) -> None:
    os.environ |= {"LOCAL_RANK": str(number)} | place
    module = fit(root, 2, resumed)
    parts = [weight.to_local() for weight in module.parameters()]  # type: ignore[attr-defined]
    held = sum(part.numel() for part in parts)
    (root / f"held_{number}.json").write_text(json.dumps(held))


def fit_together(root: Path, resumed: str | None = None) -> list[int]:
    """Train on two processes; return how many weights each holds."""
    with meeting_place() as place:
        ranks = [CONTEXT.Process(target=rank, args=(n, place, root, resumed)) for n in range(2)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
            assert process.exitcode == 0
    return [json.loads((root / f"held_{number}.json").read_text()) for number in range(2)]


def content(root: Path, step: int) -> dict:
    found = torch.load(root / f"checkpoints/step_{step:08d}.ckpt", weights_only=True)
    states = found["optimizer_states"][0]["state"]
    return {name: found[name] for name in ("state_dict", "current_model_state")} | {"adam": states}


@pytest.mark.slow
def test_two_processes_that_share_the_weights_are_one(tmp_path):
    """From a checkpoint of one process, over a validation, and back to one process."""
    one, two, back = (tmp_path / name for name in ("one", "two", "back"))
    fit(one, 1)
    held = fit_together(two, str(one / "checkpoints/step_00000002.ckpt"))
    total = sum(weight.numel() for weight in model().parameters())
    assert sum(held) == total and max(held) < 0.6 * total
    fit(back, 1, str(two / "checkpoints/step_00000003.ckpt"))
    for root, step in ((two, 3), (two, 4), (back, 4)):
        torch.testing.assert_close(content(root, step), content(one, step), rtol=1e-3, atol=1e-5)
    assert len(list(two.glob("demos/step_*/sample_?.wav"))) == 4
    sampled = model()
    sampled.load_state_dict(content(two, 4)["state_dict"])
    assert sampled.generate(0.1).isfinite().all()


def test_a_model_that_can_not_be_shared_is_told(monkeypatch):
    strategy = Sharded()
    module: LightningModule = Toy()
    monkeypatch.setattr(Sharded, "lightning_module", module)
    with pytest.raises(UserError, match="Toy can't be sharded"):
        strategy.setup(Trainer(accelerator="cpu", logger=False, enable_checkpointing=False))
