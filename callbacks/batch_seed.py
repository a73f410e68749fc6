"""Make the random stream a function of the seed and the batch, so that resuming is exact."""

import hashlib
import os

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class BatchSeed(Callback):
    """Seed torch before each training batch by its number among those of all processes.

    Nothing needs saving, so a resumed run draws what the uninterrupted one would have drawn, also
    on another number of processes; data workers and demos have streams of their own.

    Args:
        seed: the default is that of `seed_everything`
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        total = trainer.fit_loop.epoch_loop.batch_progress.total
        done = total.processed  # pyright: ignore[reportAttributeAccessIssue]
        number = done * trainer.world_size + trainer.global_rank
        seed = os.environ.get("PL_GLOBAL_SEED", 0) if self.seed is None else self.seed
        text = f"{seed} {number} 0"  # as earlier versions did it where one process trains
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))
