"""Training stops where its numbers overflow, or leaves out the few steps where they do."""

import logging
import math

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from foundation.checks import check_at_least
from foundation.errors import DivergedError, UserError
from foundation.sharded import is_sharded, whole

SMALLEST_SCALE = 2.0**-14  # of losses in float16; the method starts at 2 ** 16
LOOK = 20  # steps between two looks at what fused optimizers have left out
log = logging.getLogger(__name__)
ADVICE = (
    "try a lower --model.learning_rate, --trainer.gradient_clip_val 1 or --trainer.precision "
    "32-true; --nonfinite.skip 10 leaves out up to ten such steps, as single bad files cause them"
)


class NonFinite(Callback):
    """Look at the loss and the gradients before each optimizer step: a bad step changes no weight.

    Once a weight is nan, all are, a step later. So training stops with a DivergedError where the
    loss or a gradient is nan or infinite, in any of the processes; nothing is saved of it. Where
    losses are scaled for float16 (16-mixed), an infinite gradient is part of the method, which then
    halves the scale; there the loss counts, and a scale that has nearly vanished. A fused optimizer
    on CUDA leaves a bad step out by itself, so that the host needn't wait in every step: there they
    are counted every 20 steps, and before a validation and the end.

    Args:
        skip: leave out so many steps of a run, with all the batches accumulated in each, before
            training stops; each is reported, and `train/skipped_steps` counts them
    """

    def __init__(self, skip: int = 0):
        check_at_least(0, skip=skip)
        self.skip, self.skipped = skip, 0
        self._loss = torch.zeros(())  # the sum since the last step
        self._left_out: Tensor | None = None  # by a fused optimizer, since the last look
        self._before = math.nan

    def state_dict(self) -> dict[str, int]:
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.skipped = state_dict["skipped"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise UserError for Adam's eps that is 0 in the weights' precision: 0 / 0 is nan."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                eps, kind = group.get("eps"), group["params"][0].dtype
                if isinstance(eps, float) and eps and not torch.tensor(eps, dtype=kind):
                    raise UserError(
                        f"{type(optimizer).__name__}'s eps of {eps:g} is 0 in weights of {kind}, "
                        "where training would end in nan: set --trainer.precision 16-mixed (on a "
                        "GPU), bf16-true or 32-true, or a greater eps"
                    )

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        self._loss = self._loss.to(loss.device) + loss.detach().float()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1
        largest = whole(get_total_norm([] if scaler else gradients, norm_type=math.inf))
        summed, self._loss = self._loss, torch.zeros_like(self._loss)
        if scaler is None and leaves_out(optimizer):
            self._let_leave_out(trainer, optimizer, summed + largest.to(summed))
            return
        loss, gradient = torch.stack([summed, largest.to(summed)]).tolist()  # one transfer
        bad = not math.isfinite(loss + gradient) or scale < SMALLEST_SCALE
        if trainer.strategy.reduce_boolean_decision(bad, all=False):
            self._leave_out(trainer, weights, loss / scale)
        else:
            self._before = loss / scale

    def _let_leave_out(self, trainer: Trainer, optimizer: Optimizer, number: Tensor) -> None:
        """Tell a fused optimizer to leave the step out if a number isn't finite, unread here."""
        bad = (~number.isfinite()).float()
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad, reduce_op="sum").clamp(max=1)
        optimizer.found_inf = bad  # type: ignore[attr-defined] (what a GradScaler sets, too)
        self._left_out = bad if self._left_out is None else self._left_out + bad
        if (trainer.global_step + 1) % LOOK == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        """Count the steps that a fused optimizer left out; stop where there were too many."""
        found, self._left_out = self._left_out, None
        for _ in range(0 if found is None else int(found)):
            self._report(trainer, f"a loss or a gradient of the last {LOOK} steps isn't finite")

    def _leave_out(self, trainer: Trainer, weights: list[Tensor], loss: float) -> None:
        """Leave a step out, or stop where there were too many."""
        self._report(
            trainer, "a gradient isn't finite" if math.isfinite(loss) else f"the loss is {loss:g}"
        )
        for weight in weights:
            weight.grad = None  # optimizers pass over weights without one

    def _report(self, trainer: Trainer, what: str) -> None:
        """Count a step that is left out; DivergedError where there were too many."""
        before = "" if math.isnan(self._before) else f" (the loss before was {self._before:.4g})"
        text = f"step {trainer.global_step + 1}: {what}{before}"
        if self.skipped >= self.skip:
            left_out = f" after {self.skipped} steps that were left out" if self.skipped else ""
            raise DivergedError(f"training stopped at {text}{left_out}: {ADVICE}")
        self.skipped += 1
        if trainer.is_global_zero:
            log.warning("%s: left out, %d of at most %d", text, self.skipped, self.skip)
        for logger in trainer.loggers:
            logger.log_metrics({"train/skipped_steps": self.skipped}, trainer.global_step + 1)


def leaves_out(optimizer: Optimizer) -> bool:
    """Say whether an optimizer skips a step by its `found_inf`, on a device that computes ahead."""
    groups = optimizer.param_groups
    firsts = [group["params"][0] for group in groups]
    on_device = all(weight.is_cuda and not is_sharded(weight) for weight in firsts)
    return on_device and all(group.get("fused") for group in groups)
