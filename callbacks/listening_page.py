"""A page of a run to listen to and compare its demos, written while it trains."""

from contextlib import suppress

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from audio.page.write import update_page
from callbacks.fad_plot import write_csv
from callbacks.run_folder import local_folder

AVERAGED = ("_step", "_epoch")  # what Lightning adds to a name that is logged both ways


class ListeningPage(Callback):
    """Write `index.html` into the run's folder at each validation, and after predictions.

    It plays the demos beside what they are compared with and over the steps, and draws the curves:
    what the validations logged, kept in `curves.csv` with any logger, and what CSVLogger wrote
    between them. Trainings from the command line and `music_diffusion.fit` have this callback
    already. When writing fails, training goes on.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def state_dict(self) -> dict[str, object]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict) -> None:
        self.history = list(state_dict["history"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if trainer.state.fn == TrainerFn.FITTING:
            self._remember(trainer)
        self._write(trainer)

    def _remember(self, trainer: Trainer) -> None:
        metrics = trainer.callback_metrics.items()
        values = {name: float(value) for name, value in metrics if not name.endswith(AVERAGED)}
        self.history.append({"step": float(trainer.global_step)} | values)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it once more, with what other callbacks made at the end of the last validation."""
        self._write(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.barrier("predictions")
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        folder = local_folder(trainer)
        if folder is None or not trainer.is_global_zero or not folder.is_dir():
            return
        if self.history:
            with suppress(OSError):  # a full disk ends no training, and the page will say so
                write_csv(folder / "curves.csv", self.history)
        update_page(folder)
