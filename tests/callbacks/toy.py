"""A module small enough to train in a blink, for the tests of the callbacks."""

import logging
import random
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

STEPS_PER_EPOCH = 4


class Toy(LightningModule):
    """Follow a target that depends on the step alone, so that a resumed run sees what it missed."""

    sample_rate = 8000

    def __init__(self, demo_error: BaseException | None = None, demo_gain: float = 0.5):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("seen", torch.zeros(()))
        self.demo_error, self.demo_gain = demo_error, demo_gain
        self.draws: list[float] = []
        self.trajectory: list[Tensor] = []
        self.demo_weights: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.draws += [torch.rand(()).item(), float(np.random.rand()), random.random()]
        self.seen += 1
        target = torch.sin(self.global_step + torch.arange(3.0))
        return (self.weight - target).square().sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.weight.square().sum())

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        self.trajectory.append(self.weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def demo(
        self, batch: Tensor, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        self.demo_weights.append(self.weight.detach().clone())
        torch.rand(5), np.random.rand(5), random.random()  # a careless model
        if self.demo_error is not None:
            raise self.demo_error
        noise = torch.rand(num_demos, 2, num_samples, generator=generator)
        return {"noise": self.demo_gain * (2 * noise - 1)}


class At(Callback):
    """Do something once, at the end of a training step or in a validation."""

    def __init__(self, action, step: int, validating: bool = False):
        self.action, self.step, self.validating = action, step, validating

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step and not self.validating:
            self.action()

    def on_validation_batch_end(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step and self.validating:
            self.action()


def fit(
    root: Path,
    callbacks: list[Callback],
    max_steps: int,
    module: Toy | None = None,
    ckpt_path: str | None = None,
    **trainer_options,
) -> Toy:
    """Train a toy with a validation after each epoch of four steps."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    module = Toy() if module is None else module
    options = {"logger": False, "num_sanity_val_steps": 1, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=root,
        callbacks=callbacks,
        max_steps=max_steps,
        enable_model_summary=False,
        enable_checkpointing=any("Checkpoint" in type(callback).__name__ for callback in callbacks),
        log_every_n_steps=1,
        **options | trainer_options,
    )
    train, val = DataLoader(torch.zeros(STEPS_PER_EPOCH, 1)), DataLoader(torch.zeros(2, 1))
    if ckpt_path == "last":  # which is the command line's to find
        ckpt_path = str(root / "checkpoints" / "last.ckpt")
    trainer.fit(module, train, val, ckpt_path=ckpt_path)
    return module
