"""Frechet and kernel audio distance while a model trains, and their plot."""

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, distributed

from audio import files as audio_files
from audio.segments import spread_segments
from callbacks.attempt import attempt
from callbacks.demo import KEEP, log_clips, prune, run_folder, write_clips
from callbacks.fad_plot import draw, log_picture, write_csv
from callbacks.prepared import PreparedCallback
from callbacks.reference_clips import decoded, validation_files
from callbacks.trial import is_trial
from callbacks.validation import warn_without_validation
from foundation.audio_module import AudioModel, Batch
from foundation.checks import check_at_least, check_not_empty
from foundation.errors import UserError
from metrics.clip_scorer import ClipScorer
from metrics.embed_files import embed_files
from metrics.embedding import Embedding, MissingWeights
from metrics.embedding_names import DEFAULT, EmbeddingChoice, embedding_class, make_embedding
from metrics.logmel import LogMel

log = logging.getLogger(__name__)
GENERATED = "sample"
FLOORS = ("real", "target")  # how models name real music after their codec
LOSSES = ("train/loss", "val/loss")


@dataclass
class Measurement:
    """What this process made during one validation; vectors are [N, D]."""

    floor_files: list[Path]
    generated: list[Tensor] = field(default_factory=list)
    floor: list[Tensor] = field(default_factory=list)
    demos: list[Tensor] = field(default_factory=list)
    count: int = 0  # clips made
    failure: str | None = None
    scores: dict[str, float] = field(default_factory=dict)


class FAD(PreparedCallback):
    """Score clips of the model, with its averaged weights, against real music at validations.

    Each process makes its part of `num_clips` through `pl_module.demo`, a few at each validation
    batch, and all compute the same scores: `fad/<embedding>`, `kad/<embedding>`, and as
    `fad/<embedding>_floor` the distance of real validation music as the model's codec renders it,
    in as many clips of the same length.
    Where published weights aren't downloaded yet, a spectral distance takes their place. Training's
    random streams are left alone, and when a measurement fails, training continues.
    The first measurement says how many clips it makes, for that can take minutes.
    `fad/<embedding>` can be the monitor of a checkpoint if every validation measures it
    (`every_n_steps` null). The scores are kept in `fad.csv` and plotted in `fad.png`, in the run's
    folder.

    Args:
        reference: a folder of music, embedded once and cached; if null, the validation tracks, or,
            where their files don't exist, the real music after the codec
        embedding: a class, such as VGGish or mylab.MyEmbedding, or one of musicnn, vggish, pann_8k,
            pann_16k, pann_32k, logmel, clap and encodec
        every_n_steps: least number of steps between scores; null scores at each validation
        num_clips: clips to make, by all processes together
        seconds: the longest a clip lasts; the model may make less
        num_demos: how many of the first clips to write and log as Demo does, which then isn't
            needed
        seed: of the noise they start from
        keep_demos: how many of the newest demos of a run stay in its folder; -1 keeps all
    """

    makes = "FAD scores"

    def __init__(
        self,
        reference: str | None = None,
        embedding: EmbeddingChoice = DEFAULT,
        every_n_steps: int | None = None,
        num_clips: int = 64,
        seconds: float = 5.0,
        num_demos: int = 0,
        seed: int = 0,
        keep_demos: int = KEEP,
    ):
        check_at_least(-1, keep_demos=keep_demos)
        if num_clips < 2 or seconds <= 0 or num_demos < 0 or (every_n_steps or 1) < 1:
            raise UserError(
                "num_clips must be at least 2, seconds and every_n_steps positive, and num_demos "
                f"0 or more; got {num_clips}, {seconds}, {every_n_steps} and {num_demos}"
            )
        check_not_empty(reference=reference)
        embedding_class(embedding)  # mistakes are found before loggers start a run
        if reference is not None:
            audio_files.find(reference)
        self.reference, self.embedding = reference, embedding
        self.every_n_steps = every_n_steps
        self.num_clips, self.seconds, self.num_demos = num_clips, seconds, num_demos
        self.seed, self.keep_demos = seed, keep_demos
        self.history: list[dict[str, float]] = []
        self._last_step = 0
        self._told = False  # what it does, at its first measurement
        self._scorer: ClipScorer | None = None
        self._codec_floor: Tensor | None = None  # vectors of this process's part
        self._now: Measurement | None = None  # during a validation that measures

    @property
    def scorer(self) -> ClipScorer:
        assert self._scorer is not None, "setup comes first"
        return self._scorer

    def state_dict(self) -> dict[str, object]:
        return {"last_step": self._last_step, "history": self.history}

    def load_state_dict(self, state_dict: dict) -> None:
        self._last_step, self.history = state_dict["last_step"], list(state_dict["history"])

    def prepare(self) -> None:
        """Make the embedding; UserError where its options, its package or its file are wrong."""
        if self._scorer is None:
            with isolate_rng():
                self._scorer = ClipScorer(make_or_replace(self.embedding))

    def setup(self, trainer: Trainer, pl_module: AudioModel, stage: str) -> None:
        self.prepare()

    def on_train_start(self, trainer: Trainer, pl_module: AudioModel) -> None:
        warn_without_validation(trainer, self)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: AudioModel) -> None:
        wait = self.every_n_steps
        due = wait is None or trainer.global_step - self._last_step >= wait
        self._now = None
        if due and not trainer.sanity_checking and not is_trial(trainer):
            self._last_step = trainer.global_step
            has_codec = getattr(pl_module, "codec", None) is not None
            self._tell_start(trainer)
            self._now = Measurement(validation_files(trainer) if has_codec else [])

    def _tell_start(self, trainer: Trainer) -> None:
        """Say once what is made: with a slow codec or sampler it takes minutes."""
        if trainer.is_global_zero and not self._told:
            log.info(
                "FAD: the model makes %d clips of up to %g s at each measurement, for %s",
                *(self.num_clips, self.seconds, self.scorer.embedding.name),
            )
        self._told = True

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: AudioModel,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        now = self._now
        if now is None or now.failure or dataloader_idx:
            return
        left = -(-self.num_clips // trainer.world_size) - now.count
        total = trainer.num_val_batches[0]  # infinite where a loader can't tell
        batches = max(1, int(total) - batch_idx) if math.isfinite(total) else 1
        if left > 0:
            count = -(-left // batches)
            now.failure = attempt(self._make, now, trainer, pl_module, batch, batch_idx, count)

    def _make(
        self,
        now: Measurement,
        trainer: Trainer,
        pl_module: AudioModel,
        batch: Batch,
        batch_idx: int,
        count: int,
    ) -> None:
        """Generate `count` clips, and embed them and the real music beside them."""
        seed = (self.seed * 1_000_003 + batch_idx) * trainer.world_size + trainer.global_rank
        generator = torch.Generator(pl_module.device).manual_seed(seed)
        torch.manual_seed(seed)  # so that a draw without the generator repeats, too
        rate = pl_module.sample_rate
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            made = pl_module.demo(
                batch, num_demos=count, num_samples=round(self.seconds * rate), generator=generator
            )
        if GENERATED not in made:
            raise ValueError(f"the model's demos are {', '.join(made)}: none is a {GENERATED!r}")
        clips = made[GENERATED].float()
        now.generated.append(self.scorer.embed(clips, rate, tell=trainer.is_global_zero))
        if now.floor_files:
            now.floor = [self._embed_floor(now.floor_files, trainer, pl_module, clips.shape[-1])]
        elif name := next((name for name in FLOORS if name in made), None):
            now.floor.append(self.scorer.embed(made[name].float(), rate, tell=False))
        now.demos += list(clips[: max(0, self.num_demos - now.count)].cpu())
        now.count += len(clips)

    def _embed_floor(
        self, files: list[Path], trainer: Trainer, pl_module: AudioModel, num_samples: int
    ) -> Tensor:
        """Embed this process's part of the validation music, as the model's codec renders it."""
        if self._codec_floor is None:
            codec = pl_module.codec
            assert codec is not None  # else there were no files for a floor
            rate = codec.sample_rate
            mine = range(trainer.global_rank, self.num_clips, trainer.world_size)
            segments = spread_segments(files, rate, num_samples, self.num_clips, mine)
            clips = (decoded(codec, segment.samples.to(pl_module.device)) for segment in segments)
            vectors = [self.scorer.embed(clip, rate, tell=False) for clip in clips]
            self._codec_floor = self.scorer.join(vectors)
        return self._codec_floor

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: AudioModel) -> None:
        now = self._now
        if now is None:
            return
        join = self.scorer.join
        sides = gather((now.failure, join(now.generated), join(now.floor)), trainer.world_size)
        failure = next((failure for failure, _, _ in sides if failure), None)
        if failure is None:  # the rest is the same on all processes, which have the same vectors
            failure = attempt(self._score, now, trainer, pl_module, sides)
        if failure is not None and trainer.is_global_zero:
            log.warning("FAD at step %d failed: %s", trainer.global_step, failure)
        for name, value in now.scores.items():
            pl_module.log(name, value)

    def _score(
        self, now: Measurement, trainer: Trainer, pl_module: AudioModel, sides: list[tuple]
    ) -> None:
        """Score the vectors of all processes."""
        if self.scorer.reference is None:
            self.scorer.reference = self._embed_reference(trainer, pl_module)
        generated, floor = (torch.cat([side[index] for side in sides]) for index in (1, 2))
        now.scores = self.scorer.score(generated, floor)

    def _embed_reference(self, trainer: Trainer, pl_module: AudioModel) -> Tensor | None:
        """Embed the reference: the first process fills the cache, the others read it."""
        given = self.reference
        files = validation_files(trainer) if given is None else audio_files.find(given)
        if not files:
            log.info("FAD: the reference is validation music after the model's codec")
            return None
        model, device = self.scorer.embedding, pl_module.device
        try:
            if trainer.is_global_zero:
                return embed_files(files, model, device).values
        finally:  # also after an error, or the others would wait for ever
            trainer.strategy.barrier("fad")
        return embed_files(files, model, device, progress=False).values

    def on_validation_end(self, trainer: Trainer, pl_module: AudioModel) -> None:
        """Keep and plot the scores, beside the losses, which are known by now."""
        now, self._now = self._now, None
        if now is None or not now.scores:
            return
        losses = {key: trainer.callback_metrics.get(key) for key in LOSSES}
        row = {"step": float(trainer.global_step)} | now.scores
        row |= {key: float(value) for key, value in losses.items() if value is not None}
        self.history.append(row)
        folder = run_folder(trainer)  # asks all processes
        if trainer.is_global_zero:  # a full disk or a logger's own trouble ends no training
            failure = attempt(self._show, now.demos, trainer, pl_module, folder)
            if failure:
                log.warning("the FAD plot failed: %s", failure)

    def _show(
        self, demos: list[Tensor], trainer: Trainer, pl_module: AudioModel, folder: Path
    ) -> None:
        step = trainer.global_step
        write_csv(folder / "fad.csv", self.history)
        picture = draw(folder / "fad.png", self.history)
        for logger in trainer.loggers:
            log_picture(logger, "fad/curves", folder / "fad.png", picture, step)
        if demos:
            place = folder / "demos" / f"step_{step:08d}"
            clips = write_clips(place, GENERATED, torch.stack(demos), pl_module.sample_rate)
            for logger in trainer.loggers if clips else []:
                log_clips(logger, GENERATED, clips, pl_module.sample_rate, step)
            prune(place.parent, self.keep_demos)


def make_or_replace(choice: EmbeddingChoice) -> Embedding:
    """Make the embedding; where its weights aren't downloaded, log-mel statistics replace it."""
    try:
        return make_embedding(choice)
    except MissingWeights as error:
        log.warning("FAD: %s; until then the scores are a spectral distance (logmel)", error)
        return LogMel()


def gather(mine: tuple, processes: int) -> list[tuple]:
    """Return what each process has."""
    if processes == 1:
        return [mine]
    everyone: list[tuple] = [()] * processes
    distributed.all_gather_object(everyone, mine)
    return everyone
