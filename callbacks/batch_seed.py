"""Make the random stream a function of the seed and the batch, so that resuming is exact."""

import hashlib

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class BatchSeed(Callback):
    """Seed torch before each training batch by (seed, batch, process).

    Nothing needs saving, so a resumed run draws what the uninterrupted one would have drawn, on
    every process; data workers and demos have streams of their own.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        number = trainer.fit_loop.epoch_loop.batch_progress.total.processed
        text = f"{self.seed} {number} {trainer.global_rank}"
        torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))
