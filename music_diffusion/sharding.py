"""FSDP2 for networks whose training doesn't fit into one device."""

import os
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.optim import Optimizer

from foundation.errors import UserError
from foundation.sharded import gathered, keep_gathered, part_of


class Sharded(ModelParallelStrategy):
    """Share weights, gradients and optimizer states among processes, in ordinary checkpoints.

    The processes of a machine share them, and each machine has them all; `tensor_parallel_size`
    sets another number of processes that share them, with `data_parallel_size` such groups. A
    checkpoint is one file of whole tensors, which any number of processes resumes, with or without
    FSDP, and which `sample` and `export` read. During a validation all processes hold the whole
    weights, so that demos and FAD compute alone.
    """

    def __init__(
        self, data_parallel_size: int | None = None, tensor_parallel_size: int | None = None
    ):
        super().__init__(
            data_parallel_size or "auto",
            tensor_parallel_size or "auto",
            save_distributed_checkpoint=False,
        )

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return False  # weights are shared when the model is configured, before the usual moment

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup(self, trainer: Trainer) -> None:
        module = self.lightning_module
        if module is not None and not is_overridden("configure_model", module):
            raise UserError(
                f"{type(module).__name__} can't be sharded, sedd.module.SEDD can: "
                "use --trainer.strategy ddp"
            )
        super().setup(trainer)

    def on_validation_start(self) -> None:
        keep_gathered(self._module, True)

    def on_validation_end(self) -> None:
        keep_gathered(self._module, False)

    @property
    def _module(self) -> LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    def lightning_module_state_dict(self) -> dict:
        return self._module.state_dict()

    def optimizer_state(self, optimizer: Optimizer) -> dict:
        plain = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return plain.state_dict()

    def save_checkpoint(
        self, checkpoint: dict, filepath: str | Path, storage_options: object | None = None
    ) -> None:
        """Gather everything onto the first process, tensor by tensor, which writes it."""
        content = gathered(checkpoint, keep=self.is_global_zero)
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(content, filepath, storage_options)  # type: ignore[arg-type]

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict:
        """Map the file into memory, which the processes of a machine share."""
        path = os.fspath(checkpoint_path)
        return torch.load(path, map_location="cpu", mmap=True, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint, strict: bool = True) -> None:
        own = self._module.state_dict()
        given = checkpoint["state_dict"]
        parts = {name: part_of(x, own[name]) if name in own else x for name, x in given.items()}
        self._module.load_state_dict(parts, strict=strict)

    def load_optimizer_state_dict(self, checkpoint) -> None:
        for optimizer, given in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            states = {
                number: {
                    name: part_of(value, weights[number])
                    if isinstance(value, torch.Tensor) and value.shape == weights[number].shape
                    else value
                    for name, value in state.items()
                }
                for number, state in given["state"].items()
            }
            optimizer.load_state_dict({**given, "state": states})
