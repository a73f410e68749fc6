"""What a training begins with, in five lines: music, windows, model, steps, and its time."""

import logging
import math
import time

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from callbacks.trial import is_trial
from foundation.durations import spoken

log = logging.getLogger(__name__)
BYTES = 16  # a weight's, in training: itself, its gradient, its average, the optimiser's two
ENOUGH = 10.0  # seconds of batches, after which they are taken for the rest
HINT = (
    "For a laptop there are --config jbdiff --config level3_small and --config sedd_absorb "
    "--config tiny; the command data names the one to use"
)
SLOW = 3 * 86400.0  # of a training on a processor, from where on a smaller config is named


class RunSummary(Callback):
    """Say at the start what is trained on what, and after the first batches how long it takes."""

    def __init__(self) -> None:
        self.batches, self.seconds, self.began = 0, 0.0, 0.0
        self.told = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.told = is_trial(trainer) or not trainer.is_global_zero
        self.batches, self.seconds = 0, 0.0
        if not self.told:
            for line in [*music(trainer), model(pl_module), steps(trainer)]:
                log.info("%s", line)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if self.told:
            return
        took = time.perf_counter() - self.began
        self.batches += 1
        if self.batches == 1 and took < ENOUGH:  # it also loads what later ones find loaded
            return
        self.seconds += took
        counted = max(1, self.batches - 1)
        if self.seconds > ENOUGH or counted == trainer.accumulate_grad_batches + 2:
            self.told = True
            log.info("%s", duration(trainer, pl_module, self.seconds / counted))


def music(trainer: Trainer) -> list[str]:
    """Describe the music of a data module that can, and its windows."""
    data = getattr(trainer, "datamodule", None)
    if not all(hasattr(data, name) for name in ("describe", "train_tracks", "window_lengths")):
        return []
    assert data is not None
    found, (_, seconds) = data.describe(), data.window_lengths()
    batches = trainer.num_training_batches
    return [
        f"music: {found['folder']}, {found['hours']:.2f} h; {len(data.train_tracks)} tracks to "
        f"train on, {len(data.val_tracks)} to validate",
        f"windows of {seconds:.1f} s: {batches:,} batches of {data.batch_size} an epoch",
    ]


def model(module: LightningModule) -> str:
    weights = trained_weights(module)
    return (
        f"model: {type(module).__name__}, {million(weights)} weights, "
        f"{weights * BYTES / 1e9:.2g} GB in training, and what a batch takes"
    )


def steps(trainer: Trainer) -> str:
    """Say how many steps and epochs there are."""
    total, each = trainer.max_steps, trainer.accumulate_grad_batches
    if total < 1:
        return f"steps of {each} batches, until the time or the epochs are over"
    epochs = total * each / max(1, trainer.num_training_batches)
    done = f", {trainer.global_step:,} of them done" if trainer.global_step else ""
    return f"{total:,} steps of {each} batches, {epochs:,.3g} epochs{done}"


def duration(trainer: Trainer, module: LightningModule, batch_seconds: float) -> str:
    """Say how long a step takes and all of them, and on a processor what else there is."""
    step = batch_seconds * trainer.accumulate_grad_batches
    left = step * (trainer.max_steps - trainer.global_step) if trainer.max_steps > 0 else math.inf
    text = f"a step takes {spoken(step)} here"
    if (limit := time_left(trainer)) < left:
        return f"{text}; the time is over in {spoken(limit)}, after about {limit / step:,.0f} steps"
    if left == math.inf:
        return text
    slow = module.device.type == "cpu" and left > SLOW
    return f"{text}, those left {spoken(left)} and the validations" + (f". {HINT}" if slow else "")


def time_left(trainer: Trainer) -> float:
    """Return the seconds until `max_time` ends training."""
    timers = [one for one in getattr(trainer, "callbacks", ()) if isinstance(one, Timer)]
    left = [timer.time_remaining() for timer in timers]
    return max(0.0, min((seconds for seconds in left if seconds is not None), default=math.inf))


def trained_weights(module: LightningModule) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def million(number: float) -> str:
    return f"{number / 1e6:.3g} M" if number >= 1e5 else f"{number:,.0f}"
