"""Audible demos while a model trains: files in the run's folder, and to the loggers that can."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from audio import files as audio_files
from audio.spectrogram import write_spectrogram
from callbacks.attempt import attempt
from callbacks.reference_clips import references
from callbacks.trial import is_trial
from callbacks.validation import warn_without_validation
from foundation.audio_module import AudioModel, Batch
from foundation.batch import example
from foundation.checks import check_at_least
from foundation.errors import UserError
from foundation.files import remove

log = logging.getLogger(__name__)
KEEP = 10  # demos of as many steps; with spectrograms and originals each is some MB


@dataclass(frozen=True)
class Clip:
    """One piece of demo audio [C, T], its spectrogram [H, W, 3], and their files."""

    audio: Tensor
    picture: np.ndarray
    wav: Path
    png: Path


class Demo(Callback):
    """Let the model make audio at validations, where its averaged weights are in place.

    `pl_module.demo(batch, num_demos, num_samples, generator)` returns audio [B, C, T] by name. It
    is called for each clip alone, with `num_demos` 1 and an example of the first process's first
    validation batch; `generator` lies on the module's device. Clip i has the noise of the seed plus
    i and is made by process i modulo n, so that n changes no sample; the first process writes them.
    A demo leaves the random streams of training alone; when a clip fails, none is written and
    training goes on. Sanity checks and `fast_dev_run` make none. In the predict loop it writes the
    audio that `predict_step` returns by name. Beside the demos, `demos/reference` holds validation
    music of the samples' length, as it is and after the codec.

    Args:
        every_n_steps: steps from one demo to the next at least; null makes one at each validation
        num_demos: how many of each kind; beyond the examples of a batch these are taken again
        seconds: the longest a demo lasts; the model may make less
        seed: of the first one's noise
        keep: how many of the newest demos of a run stay in its folder; -1 keeps all
    """

    makes = "demos"

    def __init__(
        self,
        every_n_steps: int | None = None,
        num_demos: int = 4,
        seconds: float = 10.0,
        seed: int = 0,
        keep: int = KEEP,
    ):
        check_at_least(-1, keep=keep)
        if num_demos < 1 or seconds <= 0 or (every_n_steps is not None and every_n_steps < 1):
            raise UserError(
                "num_demos, seconds and every_n_steps must be positive, "
                f"got {num_demos}, {seconds} and {every_n_steps}"
            )
        self.every_n_steps = every_n_steps
        self.num_demos = num_demos
        self.seconds = seconds
        self.seed, self.keep = seed, keep
        self._last_step = 0

    def state_dict(self) -> dict[str, int]:
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._last_step = state_dict["last_step"]

    def on_train_start(self, trainer: Trainer, pl_module: AudioModel) -> None:
        warn_without_validation(trainer, self)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: AudioModel,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        first = batch_idx == 0 and dataloader_idx == 0
        if not first or trainer.sanity_checking or is_trial(trainer) or not self._due(trainer):
            return
        folder = run_folder(trainer) / "demos" / f"step_{trainer.global_step:08d}"
        if trainer.state.fn != TrainerFn.FITTING:  # where steps aren't counted
            path = trainer.ckpt_path
            folder = folder.with_name(f"validate_{Path(path).stem if path else 'untrained'}")
        failure = self._make_together(trainer, pl_module, batch, folder)
        if failure is not None and trainer.is_global_zero:
            log.warning("demo at step %d failed: %s", trainer.global_step, failure)
        self._last_step = trainer.global_step
        trainer.strategy.barrier("demo")

    def on_predict_start(self, trainer: Trainer, pl_module: AudioModel) -> None:
        self._predictions = run_folder(trainer) / "predictions"

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: AudioModel,
        outputs: dict[str, Tensor],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write what `predict_step` made, each process its own batches."""
        number = batch_idx * trainer.world_size + trainer.global_rank
        folder = self._predictions / f"batch_{number:04d}"
        for name, audio in outputs.items():
            write_clips(folder, name, audio, pl_module.sample_rate)

    def on_predict_end(self, trainer: Trainer, pl_module: AudioModel) -> None:
        if trainer.is_global_zero:
            log.info("the predictions are in %s", self._predictions)

    def _due(self, trainer: Trainer) -> bool:
        if self.every_n_steps is None:
            return True
        return trainer.global_step - self._last_step >= self.every_n_steps

    def _make_together(
        self, trainer: Trainer, pl_module: AudioModel, batch: Batch, folder: Path
    ) -> str | None:
        """Make this process's clips, and write those of all; return what failed, if anything did.

        Whatever fails in a process, it takes part in each exchange, so that none waits forever.
        """
        examples: list[Batch] = []
        failure = attempt(self._take, batch, examples) if trainer.is_global_zero else None
        examples = trainer.strategy.broadcast(examples)
        made: dict[int, dict[str, Tensor]] = {}
        failure = failure or attempt(self._make, trainer, pl_module, examples, made)
        clips = []
        for number in range(self.num_demos):
            mine = (failure, made.get(number))
            theirs, clip = trainer.strategy.broadcast(mine, src=number % trainer.world_size)
            failure = failure or theirs
            clips.append(clip)
        if failure is None and trainer.is_global_zero:
            failure = attempt(self._write, trainer, pl_module, clips, folder)
        return failure

    def _take(self, batch: Batch, examples: list[Batch]) -> None:
        """Take an example for each clip, to the CPU, from where each device can have it."""
        taken = (example(batch, number) for number in range(self.num_demos))
        examples += [move_data_to_device(one, "cpu") for one in taken]

    def _make(
        self,
        trainer: Trainer,
        pl_module: AudioModel,
        examples: list[Batch],
        made: dict[int, dict[str, Tensor]],
    ) -> None:
        """Make this process's clips by number, each from its own example and noise."""
        for number in range(trainer.global_rank, self.num_demos, trainer.world_size):
            seed = self.seed + number
            generator = torch.Generator(pl_module.device).manual_seed(seed)
            torch.manual_seed(seed)  # a draw that forgets the generator repeats all the same
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                clip = pl_module.demo(
                    move_data_to_device(examples[number], pl_module.device),
                    num_demos=1,
                    num_samples=round(self.seconds * pl_module.sample_rate),
                    generator=generator,
                )
            made[number] = {name: audio.detach().float().cpu() for name, audio in clip.items()}

    def _write(
        self,
        trainer: Trainer,
        pl_module: AudioModel,
        made: list[dict[str, Tensor]],
        folder: Path,
    ) -> None:
        """Write and log the clips, of which all processes made some."""
        demos = {name: torch.cat([clip[name] for clip in made]) for name in made[0]}
        for name, audio in demos.items():
            clips = write_clips(folder, name, audio, pl_module.sample_rate)
            for logger in trainer.loggers if clips else []:
                log_clips(logger, name, clips, pl_module.sample_rate, trainer.global_step)
        self._write_references(trainer, pl_module, demos, folder.parent / "reference")
        prune(folder.parent, self.keep)

    def _write_references(
        self, trainer: Trainer, pl_module: AudioModel, demos: dict[str, Tensor], folder: Path
    ) -> None:
        """Write, once, validation music of the samples' length, and what the codec makes of it."""
        codec, sample = getattr(pl_module, "codec", None), demos.get("sample")
        if codec is None or sample is None or folder.exists():
            return
        with torch.no_grad():
            real = references(trainer, codec, sample.shape[-1], self.num_demos, pl_module.device)
        for name, audio in real.items():
            write_clips(folder, name, audio, codec.sample_rate)


def prune(demos: Path, keep: int) -> None:
    """Delete the oldest of a run's demos, so that `keep` are left; -1 keeps all.

    The oldest are those that were made first: a run resumed from an earlier step makes smaller
    steps anew.
    """
    steps = sorted(demos.glob("step_*"), key=lambda step: (step.stat().st_mtime, step.name))
    for old in steps[: len(steps) - keep] if keep >= 0 else []:
        remove(old)


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of this run; every process must ask, for rank zero tells the others."""
    return Path(trainer.strategy.broadcast(os.path.abspath(trainer.default_root_dir)))


def write_clips(folder: Path, name: str, audio: Tensor, sample_rate: int) -> list[Clip]:
    """Write audio [B, C, T] as WAV and spectrogram PNG; leave out what is not finite."""
    if audio.dim() != 3:
        raise UserError(f"demo {name!r} must be [batch, channels, samples], got {audio.shape}")
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for index, clip in enumerate(audio.detach().float().cpu()):
        wav, png = folder / f"{name}_{index}.wav", folder / f"{name}_{index}.png"
        if not clip.isfinite().all():
            log.warning("demo %s is not finite and was left out", wav)
            continue
        audio_files.write(wav, clip, sample_rate)
        clips.append(Clip(clip, write_spectrogram(png, clip, sample_rate), wav, png))
    return clips


def log_clips(logger: Logger, name: str, clips: list[Clip], sample_rate: int, step: int) -> None:
    """Send clips to a logger: audio and pictures where it takes them, the peak to any."""
    peak = max(clip.audio.abs().max().item() for clip in clips)
    logger.log_metrics({f"demo/{name}_peak": peak}, step=step)  # above 1 the file is clipped
    tag = f"demo/{name}"
    if isinstance(logger, WandbLogger):
        rates = [sample_rate] * len(clips)
        wavs, pngs = [str(clip.wav) for clip in clips], [str(clip.png) for clip in clips]
        logger.log_audio(tag, wavs, step=step, sample_rate=rates)
        logger.log_image(f"{tag}_spectrogram", pngs, step=step)
    elif isinstance(logger, TensorBoardLogger):
        for index, clip in enumerate(clips):
            mono = clip.audio.mean(0, keepdim=True).clamp(-1, 1)  # all that TensorBoard plays
            logger.experiment.add_audio(f"{tag}_{index}", mono, step, sample_rate)
            logger.experiment.add_image(
                f"{tag}_{index}_spectrogram", clip.picture, step, dataformats="HWC"
            )
