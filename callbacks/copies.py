"""Does a model begin to copy its training music? Its demos, looked for there while it trains."""

import logging
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from audio import files as audio
from audio.segments import spread_segments
from callbacks.fad import GENERATED, attempt
from callbacks.fad_plot import write_csv
from callbacks.reference_clips import validation_files
from callbacks.run_folder import local_folder
from foundation.checks import check_not_empty
from foundation.errors import UserError
from metrics.memorisation import Nearness, TrainingMusic
from metrics.musicality import RATE

log = logging.getLogger(__name__)
CONTROL = 64  # clips of real music
TABLE = "copies.csv"
CPU = torch.device("cpu")


class Copies(Callback):
    """Look at each validation for the demos that were just written in the training music.

    It logs and keeps in `copies.csv`, for the page of the run: `copies/nearest`, the greatest score
    of a demo's nearest passage (`metrics.copying`); `copies/control`, the 99th percentile of that
    of held-out real clips; and `copies/rate`, the share of demos above it. Demos are those of
    `Demo`, or of `FAD` with `num_demos`, one of which must be there. The training music is read
    once; then a look takes about a CPU second for each hour of it and ten demos. When it fails,
    training goes on.

    Args:
        training: the folder of the training music
        control: real music that isn't in it; if null, the validation tracks
    """

    def __init__(self, training: str, control: str | None = None):
        check_not_empty(training=training, control=control)
        for folder in (training, control):  # mistakes are found before loggers start a run
            if folder is not None:
                audio.find(folder)
        self.training, self.control = training, control
        self.history: list[dict[str, float]] = []
        self._music: TrainingMusic | None = None
        self._real: Nearness | None = None  # of the control

    def state_dict(self) -> dict[str, object]:
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict) -> None:
        self.history = list(state_dict["history"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = local_folder(trainer)
        if folder is None or not trainer.is_global_zero or trainer.sanity_checking:
            return
        demos = folder / "demos" / f"step_{trainer.global_step:08d}"
        files = sorted(demos.glob(f"{GENERATED}_*.wav")) if demos.is_dir() else []
        if files:
            failure = attempt(self._look, trainer, files, folder)
            if failure:
                log.warning("copies weren't looked for: %s", failure)

    def _look(self, trainer: Trainer, files: list[Path], folder: Path) -> None:
        generated = torch.cat([audio.read(file, 0, None, RATE, 1) for file in files])
        if self._music is None:
            self._music = TrainingMusic.of(audio.find(self.training), CPU, progress=False)
        if self._real is None:
            self._real = self._music.near(self._control(trainer, generated.shape[1]), CPU)
        found = self._music.compare(self._music.near(generated, CPU), self._real)
        values = {
            "copies/nearest": max(passage.score for passage in found.passages),
            "copies/control": found.notes.threshold,
            "copies/rate": found.notes.rate,
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, trainer.global_step)
        self.history.append({"step": float(trainer.global_step)} | values)
        write_csv(folder / TABLE, self.history)

    def _control(self, trainer: Trainer, length: int) -> Tensor:
        """Read real clips [C, T] as long as the demos."""
        given = self.control
        files = validation_files(trainer) if given is None else audio.find(given)
        found = spread_segments(files, RATE, length, CONTROL, range(CONTROL)) if files else ()
        clips = [one.samples for one in found if one.samples.shape[1] == length]
        if not clips:
            raise UserError("there is no real music as long as the demos: give Copies a control")
        return torch.cat(clips)
