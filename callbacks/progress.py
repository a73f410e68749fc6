"""How far a run is: a bar in a terminal, a line for each validation, also in files."""

import logging
import sys
import time

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from callbacks.run_summary import time_left
from callbacks.trial import is_trial
from foundation.durations import spoken

log = logging.getLogger(__name__)
OWN_LINE = ("v_num", "val/", "fad", "kad")
SHOWN = ("val/loss", "train/loss", "fad", "kad")  # what begins so is in a validation's line


class Progress(TQDMProgressBar):
    """Lightning's bar in terminals and notebooks; a line after each validation everywhere.

    A bar in a file, such as the log of a job, would be a line for each of its states.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate)
        self.began, self.first = time.monotonic(), 0

    @property
    def is_enabled(self) -> bool:
        return super().is_enabled and (sys.stdout.isatty() or "ipykernel" in sys.modules)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict:
        """Leave out of the bar what its 80 columns can't hold: measures of the validations' lines.

        The logger's version goes, too: it is the run's number in a log, which says nothing.
        """
        shown = super().get_metrics(trainer, pl_module)
        return {name: shown[name] for name in shown if not name.startswith(OWN_LINE)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.began, self.first = time.monotonic(), trainer.global_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        fitting = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fitting and trainer.is_global_zero and not is_trial(trainer):
            log.info("%s", self.line(trainer))

    def line(self, trainer: Trainer) -> str:
        """Say the step, the measures, and the time that is left at the pace so far."""
        step, total = trainer.global_step, trainer.max_steps
        text = f"step {step:,}" + (f" of {total:,}" if total > 0 else "")
        measures = [
            f"{name} {float(value):.4g}"
            for name, value in sorted(trainer.callback_metrics.items(), reverse=True)
            if name.startswith(SHOWN) and not name.endswith(("_step", "_epoch"))
        ]
        if step > self.first and total > step:
            pace = (time.monotonic() - self.began) / (step - self.first)
            left = min(pace * (total - step), time_left(trainer))
            measures.append(f"{spoken(left)} left")
        return f"{text}: {', '.join(measures)}" if measures else text
