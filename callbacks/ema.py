"""Exponential moving average of the weights, kept beside the ones being trained."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from foundation.errors import UserError
from foundation.sharded import part_of, scatter


class EMA(Callback):
    """Average the weights; the decay ramps up, so that the start forgets the initial weights.

    The average stands in for the weights during validation and after training. A checkpoint holds
    it as `state_dict`, and the trained weights as `current_model_state`, at whatever moment it is
    saved: also in the middle of a validation, and after training. Buffers aren't averaged. It is
    of float32 at least: steps of it are too small for bfloat16.

    Args:
        decay: what a step leaves of the average, once the start is over
    """

    def __init__(self, decay: float = 0.9999):
        if not 0 <= decay < 1:
            raise UserError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self.updates = self.last_step = 0
        self._swapped = False  # the module holds the average, and `average` what is trained
        self._exact: dict[str, Tensor] = {}  # what the module's precision can't hold, meanwhile

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.updates, self._swapped, self._exact, self.average = 0, False, {}, {}
            trainer.precision_plugin.convert_module(pl_module)  # Lightning does so after loading

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now weights are on their device and, under FSDP, shared among processes."""
        self._start(pl_module)

    def _start(self, pl_module: LightningModule) -> None:
        if not self.average:
            copies = {name: precise(p) for name, p in pl_module.named_parameters()}
            self.average = {name: p.to(pl_module.device) for name, p in copies.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step <= self.last_step:  # gradients are being accumulated
            return
        self.last_step = trainer.global_step
        decay = min((1 + self.updates) / (10 + self.updates), self.decay) if self.updates else 0.0
        self.updates += 1
        for name, weight in pl_module.named_parameters():
            average = self.average[name]
            average.lerp_(weight.to(average.dtype), 1 - decay)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)  # not a copy: a checkpoint saved from here on can still resume

    def state_dict(self) -> dict[str, int]:
        return {"latest_update_step": self.last_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.last_step = state_dict["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        self._start(pl_module)  # LearningRateFinder saves before it starts to fit
        held, other = dict(checkpoint["state_dict"]), dict(checkpoint["state_dict"])
        names = {id(p): name for name, p in pl_module.named_parameters()}
        for alias, p in pl_module.named_parameters(remove_duplicate=False):  # of shared weights
            other[alias] = self.average[names[id(p)]]
            held[alias] = self._exact.get(names[id(p)], held[alias])
        average, trained = (held, other) if self._swapped else (other, held)
        checkpoint |= {"state_dict": average, "current_model_state": trained}
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(self.updates)}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:  # state_dict, the average, is enough
            return
        self._start(pl_module)
        for name, average in self.average.items():
            average.copy_(part_of(checkpoint["state_dict"][name], average))
        if "current_model_state" in checkpoint:
            self.updates = int(checkpoint["averaging_state"]["n_averaged"])
            trained = {"state_dict": checkpoint["current_model_state"]}
            trainer.strategy.load_model_state_dict(trained)

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        scatter(pl_module)  # of weights that were gathered to validate, the parts are averaged
        for name, weight in pl_module.named_parameters():
            average, held = self.average[name], weight.clone()
            exact = self._exact.pop(name, None)
            if exact is None and average.dtype != weight.dtype:
                self._exact[name] = average.clone()
            weight.copy_(average)
            average.copy_(held if exact is None else exact)
        self._swapped = not self._swapped


def precise(weight: Tensor) -> Tensor:
    """Copy a weight, in float32 where it has less precision."""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True)
