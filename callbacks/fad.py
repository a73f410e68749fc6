"""Frechet and kernel audio distance while a model trains, and their picture."""

import logging
import math
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, distributed

from audio import files as audio_files
from callbacks.demo import log_clips, run_folder, write_clips
from callbacks.fad_plot import draw, log_picture, write_csv
from callbacks.reference_clips import passages, validation_files
from metrics.embed_files import collect
from metrics.embedding import Embedding
from metrics.embedding_set import Vectors
from metrics.fad import DEFAULT, create
from metrics.frechet import Gaussian, frechet
from metrics.kernel import kernel_distance
from metrics.logmel import LogMel

log = logging.getLogger(__name__)
GENERATED = "sample"
FLOORS = ("real", "target")  # how models name real music after their codec
LOSSES = ("train/loss", "val/loss")


class FAD(Callback):
    """Score clips of the model, with its averaged weights, against real music at validations.

    Each process makes its part of `num_clips` through `pl_module.demo`, a few at each validation
    batch, and all compute the same scores: `fad/<embedding>`, `kad/<embedding>`, and as
    `fad/<embedding>_floor` the distance of real validation music as the model's codec renders it,
    in as many clips of the same length.
    Without the embedding's weights a spectral distance takes its place. Training's random streams
    are left alone, and when a measurement fails, training goes on. `fad/<embedding>` can be the
    monitor of a checkpoint if every validation measures it (`every_n_steps` null). The scores are
    kept in `fad.csv` and drawn in `fad.png`, in the run's folder.

    Args:
        reference: a folder of music, embedded once and kept; if null, the validation tracks, or,
            where their files aren't at hand, the real music after the codec
        embedding: musicnn, vggish, pann_8k, pann_16k, pann_32k, logmel, clap or encodec
        path: the embedding's file of weights, if it isn't in ckpts/
        every_n_steps: steps from one score to the next at least; null scores at each validation
        num_clips: clips to make, by all processes together
        seconds: the longest a clip lasts; the model may make less
        num_demos: of the first clips, how many to write and log as Demo does, which then isn't
            needed
        seed: of the noise they start from
    """

    def __init__(
        self,
        reference: str | None = None,
        embedding: str = DEFAULT,
        path: str | None = None,
        every_n_steps: int | None = None,
        num_clips: int = 64,
        seconds: float = 5.0,
        num_demos: int = 0,
        seed: int = 0,
    ):
        if num_clips < 2 or seconds <= 0 or num_demos < 0 or (every_n_steps or 1) < 1:
            raise ValueError(
                "num_clips must be at least 2, seconds and every_n_steps positive, and num_demos "
                f"0 or more; got {num_clips}, {seconds}, {every_n_steps} and {num_demos}"
            )
        self.reference, self.embedding, self.path = reference, embedding, path
        self.every_n_steps = every_n_steps
        self.num_clips, self.seconds, self.num_demos = num_clips, seconds, num_demos
        self.seed = seed
        self.history: list[dict[str, float]] = []
        self._last_step = 0
        self._model: Embedding | None = None
        self._reference: Tensor | None = None
        self._floor: Tensor | None = None  # of this process
        self._for_floor: list[Path] = []
        self._looped = False
        self._start(measuring=False)

    def _start(self, measuring: bool) -> None:
        self._measuring = measuring
        self._count = 0
        self._vectors: dict[str, list[Tensor]] = {GENERATED: [], "floor": []}
        self._demos: list[Tensor] = []
        self._failure: str | None = None
        self._scores: dict[str, float] = {}

    def state_dict(self) -> dict[str, object]:
        return {"last_step": self._last_step, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._last_step, self.history = state_dict["last_step"], list(state_dict["history"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find mistakes before training starts."""
        if self.reference:
            audio_files.find(self.reference)
        if self._model is None:
            with isolate_rng():
                self._model = load_embedding(self.embedding, self.path)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wait = self.every_n_steps
        due = wait is None or trainer.global_step - self._last_step >= wait
        self._start(due and not trainer.sanity_checking and not trainer.fast_dev_run)
        if self._measuring:
            self._last_step = trainer.global_step
            self._for_floor = validation_files(trainer) if hasattr(pl_module, "codec") else []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self._measuring or dataloader_idx or self._failure:
            return
        left = -(-self.num_clips // trainer.world_size) - self._count
        total = trainer.num_val_batches[0]  # infinite where a loader can't tell
        batches = max(1, int(total) - batch_idx) if math.isfinite(total) else 1
        if left < 1:
            return
        with isolate_rng():  # restores nothing after an exception, so none may leave it
            try:
                self._make(trainer, pl_module, batch, batch_idx, -(-left // batches))
            except Exception as error:
                self._failure = f"{type(error).__name__}: {error}"
                log.debug("where the measurement failed", exc_info=True)

    def _make(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        count: int,
    ) -> None:
        """Let the model make some clips, and embed them beside the real music they came with."""
        seed = (self.seed * 1_000_003 + batch_idx) * trainer.world_size + trainer.global_rank
        generator = torch.Generator(pl_module.device).manual_seed(seed)
        torch.manual_seed(seed)  # a draw that forgets the generator repeats all the same
        rate = pl_module.sample_rate
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            made = pl_module.demo(
                batch, num_demos=count, num_samples=round(self.seconds * rate), generator=generator
            )
        if GENERATED not in made:
            raise ValueError(f"the model's demos are {', '.join(made)}: none is a {GENERATED!r}")
        clips = made[GENERATED].float()
        self._vectors[GENERATED].append(self._embed(clips, rate))
        if self._for_floor:
            if self._floor is None:
                self._floor = self._coded(trainer, pl_module, clips.shape[-1])
            self._vectors["floor"] = [self._floor]
        elif floor := next((name for name in FLOORS if name in made), None):
            self._vectors["floor"].append(self._embed(made[floor].float(), rate))
        self._demos += list(clips[: max(0, self.num_demos - self._count)].cpu())
        self._count += len(clips)

    def _embed(self, clips: Tensor, rate: int) -> Tensor:
        """Embed clips [B, C, T]; those shorter than one vector needs are looped, also real ones."""
        model = self._model.to(clips.device)
        least = math.ceil(model.shortest * rate / model.sample_rate) + 1
        if 0 < clips.shape[-1] < least:
            if not self._looped and rank_zero_only.rank == 0:
                seconds = clips.shape[-1] / rate, least / rate
                log.info("FAD: clips of %.2f s are looped to the %.2f s of one vector", *seconds)
            self._looped = True
            clips = clips.repeat(1, 1, -(-least // clips.shape[-1]))[..., :least]
        return model(clips, rate).cpu()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._measuring:
            return
        mine = {name: torch.cat(parts) for name, parts in self._vectors.items() if parts}
        sides = gather((self._failure, mine), trainer.world_size)
        failure = next((reason for reason, _ in sides if reason), None)
        if failure is None:
            try:
                self._scores = self._score(trainer, pl_module, [side for _, side in sides])
            except Exception as error:  # the same on all processes, which have the same vectors
                failure = f"{type(error).__name__}: {error}"
                log.debug("where the measurement failed", exc_info=True)
        if failure is not None and trainer.is_global_zero:
            log.warning("FAD at step %d failed: %s", trainer.global_step, failure)
        for name, value in self._scores.items():
            pl_module.log(name, value)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep and draw the scores, beside the losses that are known by now."""
        if not self._scores:
            return
        losses = {key: trainer.callback_metrics.get(key) for key in LOSSES}
        row = {"step": float(trainer.global_step)} | self._scores
        row |= {key: float(value) for key, value in losses.items() if value is not None}
        self.history.append(row)
        folder = run_folder(trainer)  # asks all processes
        if trainer.is_global_zero:
            with isolate_rng():
                try:
                    self._show(trainer, pl_module, folder)
                except Exception as error:  # a full disk, a logger's own trouble
                    log.warning("the FAD picture failed: %s: %s", type(error).__name__, error)
        self._start(measuring=False)

    def _show(self, trainer: Trainer, pl_module: LightningModule, folder: Path) -> None:
        step = trainer.global_step
        write_csv(folder / "fad.csv", self.history)
        picture = draw(folder / "fad.png", self.history)
        for logger in trainer.loggers:
            log_picture(logger, "fad/curves", folder / "fad.png", picture, step)
        if self._demos:
            where = folder / "demos" / f"step_{step:08d}"
            demos = torch.stack(self._demos)
            clips = write_clips(where, GENERATED, demos, pl_module.sample_rate)
            for logger in trainer.loggers if clips else []:
                log_clips(logger, GENERATED, clips, pl_module.sample_rate, step)

    def _score(
        self, trainer: Trainer, pl_module: LightningModule, sides: list[dict[str, Tensor]]
    ) -> dict[str, float]:
        """Score the vectors of all processes."""
        generated = [side[GENERATED] for side in sides if GENERATED in side]
        floors = [side["floor"] for side in sides if "floor" in side]
        if sum(map(len, generated)) < 2:
            raise ValueError("too few or too short clips for the embedding: raise seconds")
        own = False
        if self._reference is None:
            found = self._find_reference(trainer, pl_module)
            own = found is None
            if own and sum(map(len, floors)) < 2:
                raise ValueError("there is no music to compare with: give FAD a reference")
            self._reference = torch.cat(floors) if own else found.values
        name = self._model.name
        scores = distances(self._reference, torch.cat(generated), name, "")
        if not own and sum(map(len, floors)) >= 2:
            scores |= distances(self._reference, torch.cat(floors), name, "_floor")
        return scores

    def _coded(self, trainer: Trainer, pl_module: LightningModule, num_samples: int) -> Tensor:
        """Embed this process's part of the validation music, as it is after the model's codec."""
        codec = pl_module.codec
        rate, vectors = codec.sample_rate, [torch.empty(0, self._model.dim)]
        mine = range(trainer.global_rank, self.num_clips, trainer.world_size)
        for real in passages(self._for_floor, rate, num_samples, self.num_clips, mine):
            coded = codec.decode(codec.encode(real[None].to(pl_module.device)))
            vectors.append(self._embed(coded[..., :num_samples], rate))
        return torch.cat(vectors)

    def _find_reference(self, trainer: Trainer, pl_module: LightningModule) -> Vectors | None:
        """Embed the reference: the first process fills the cache, the others read it."""
        files = audio_files.find(self.reference) if self.reference else validation_files(trainer)
        if not files:
            log.info("FAD: the reference is validation music after the model's codec")
            return None
        try:
            if trainer.is_global_zero:
                return collect(files, self._model, pl_module.device)
        finally:  # also after an error, or the others would wait for ever
            trainer.strategy.barrier("fad")
        return collect(files, self._model, pl_module.device, progress=False)


def distances(reference: Tensor, vectors: Tensor, name: str, suffix: str) -> dict[str, float]:
    """Score vectors [N, D] both ways."""
    score = frechet(Gaussian.of(reference), Gaussian.of(vectors))
    return {
        f"fad/{name}{suffix}": score,
        f"kad/{name}{suffix}": kernel_distance(reference, vectors),
    }


def load_embedding(name: str, path: str | None) -> Embedding:
    """Make the embedding; without its weights, log-mel statistics take its place."""
    try:
        return create(name, path)
    except FileNotFoundError as error:
        if path:
            raise
        log.warning("FAD: %s; until then the scores are a spectral distance (logmel)", error)
        return LogMel()


def gather(mine: tuple, processes: int) -> list[tuple]:
    """Bring together what each process has."""
    if processes == 1:
        return [mine]
    everyone: list[tuple] = [()] * processes
    distributed.all_gather_object(everyone, mine)
    return everyone
