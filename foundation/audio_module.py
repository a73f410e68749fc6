"""The contract of a model that generates audio, and what all of them do alike."""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from foundation.batch import Batch, Cond, cond_of, num_examples, take
from foundation.checks import check_not_empty, check_optimizer_options
from foundation.codec import Codec, Frozen
from foundation.compiled import Compiled
from foundation.conditioner import ConditionalNet
from foundation.conditions import CONDITIONS, Conditions, conditions_in
from foundation.control import Control
from foundation.errors import UserError
from foundation.fused_module import clip_gradients
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.settings import content_of
from foundation.weights import mismatch
from foundation.windows import AudioWindow, TokenWindow

BASE = "base"  # the name of the base model, where a checkpoint is asked for
GOLDEN_RATIO = 0.618034  # turns evenly spaced times from batch to batch without ever repeating


class AudioModel(LightningModule, ABC):
    """A generator of audio: what fit trains, and what sample, demos, FAD and export use.

    A subclass calls `super().__init__(codec)` and `self.save_settings()` first and sets `window`,
    `sample_rate` and, where it reads tokens, `token_window`. Its own options are those of its
    constructor, so a checkpoint rebuilds it from its class path alone.

    Attributes:
        sample_rate: of the audio, in Hz
        window: the audio of an example
        token_window: the tokens of an example; None where the model reads audio alone
        sampler_type: what `generate` takes as a sampler
        settled: its conditions are those of a checkpoint that is resumed, and can't be others
        provenance: what the checkpoint it was loaded from was made with; None for a new model
        base: the exported folder of a small trained model that comes with the class; None if none
    """

    sample_rate: int
    window: AudioWindow
    token_window: TokenWindow | None = None
    sampler_type: ClassVar[type[Sampler]] = Sampler
    settled: bool = False
    provenance: Mapping[str, object] | None = None
    base: ClassVar[Path | None] = None

    compiles: bool | None = None  # whether fit compiles the loss; None: on CUDA

    def __init__(self, codec: Codec | None = None):
        super().__init__()
        self._step_losses: Callable[[Batch, Tensor], Tensor] | None = None
        self.frozen = None if codec is None else Frozen(codec)

    @property
    def codec(self) -> Codec | None:
        """What turns audio into the model's tokens or latents; None for a model of audio."""
        return None if self.frozen is None else self.frozen.module

    @abstractmethod
    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Compute each example's loss [B] at times [B] from 0 (clean) to 1 (noise).

        Noise is drawn from `generator`, or from torch's own stream where it is None.
        """

    @abstractmethod
    def generate(
        self,
        seconds: float | None = None,
        *,
        count: int = 1,
        prompt: Tensor | None = None,
        keep: Tensor | None = None,
        init: Tensor | None = None,
        strength: float = 0.5,
        cond: Control | Cond | None = None,
        sampler: Sampler | None = None,
        seed: int = 0,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Generate audio [count, C, T] in [-1, 1] at `sample_rate`.

        Args:
            seconds: of new audio; a model has a default, and repairing a prompt needs none
            count: how many clips
            prompt: audio [C, T] to continue, or to repair where `keep` says so
            keep: bool [T], which samples of the prompt stay; the others are regenerated
            init: audio [C, T] that the result is to resemble
            strength: how much of `init` to keep, from 0 (nothing) to 1 (all of it)
            cond: what the music is to be like: a Control, or metadata by name with a value for
                each clip
            sampler: an instance of `sampler_type`; None takes the model's own
            seed: clip i has the noise of seed + i; libraries round differently for each number
                of clips, so that only the same count gives the same audio to the bit
            on_step: called with the steps done and their total

        Raises:
            UserError: for what this model can't do, and for values out of range
        """

    @abstractmethod
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return audio [B, C, T] by name: "sample", "real" and others.

        `sample` holds `num_demos` clips, of at most `num_samples` samples. Callback `Demo` asks for
        one clip at a time, FAD for several.
        """

    @abstractmethod
    def load_weights(self, path: str) -> None:
        """Start from a checkpoint, an export or a published file; UserError if it doesn't fit."""

    def start_from(self, init_from: str | None) -> None:
        """Load the weights that the option `init_from` names, if it is given; `base` is ours."""
        check_not_empty(init_from=init_from)
        if init_from == BASE and self.base is None:
            raise UserError(f"{type(self).__name__} comes with no base model: give a file")
        if init_from is not None:
            path = str(self.base) if init_from == BASE else init_from
            self.condition_on(conditions_in(content_of(path), path))
            self.load_weights(path)

    @property
    def conditions(self) -> Conditions:
        """What the model can be told of the music; empty for most."""
        conditioner = getattr(getattr(self, "net", None), "conditioner", None)
        return Conditions() if conditioner is None else conditioner.conditions

    def condition_on(self, conditions: Conditions | None) -> None:
        """Let the model be told these conditions besides its own; checkpoints will hold them.

        Raises:
            UserError: for a model that can't be told any
        """
        joined = self.conditions.joined(conditions or Conditions())
        if self.settled or joined == self.conditions:
            return
        net = getattr(self, "net", None)
        if not isinstance(net, ConditionalNet):
            raise UserError(
                f"{type(self).__name__} can't be told {joined.describe()}: leave it out"
            )
        net.condition_on(joined)

    def settle(self, checkpoint: Mapping, source: str) -> None:
        """Take the conditions of a checkpoint whose weights are about to be loaded."""
        self.condition_on(conditions_in(checkpoint, source))
        self.settled = True

    def told(self, cond: Control | Cond | None, count: int) -> tuple[Cond | None, float]:
        """Return what is asked for as metadata of `count` clips, and the guidance by it.

        Raises:
            UserError: where the model wasn't trained with what is asked for
        """
        if not isinstance(cond, Control):
            return cond, 1.0
        if not self.conditions and cond.asks:
            raise UserError(
                f"this {type(self).__name__} was trained without labels, tags, tempo or key, so "
                "that none can be asked for: leave them out, or train one with --data.labels or "
                "--data.tags (docs/control.md)"
            )
        return self.conditions.cond(cond, count, self.device), cond.guidance

    def demo_cond(self, batch: Batch, num_demos: int) -> Cond | None:
        """Return what demos are told: the conditions of the real music beside them."""
        cond = cond_of(batch)
        if cond is None or not self.conditions:
            return None
        return take(cond, [i % num_examples(batch) for i in range(num_demos)])

    def save_settings(self) -> None:
        """Keep the constructor's arguments for checkpoints; call it in the constructor.

        A checkpoint stands without the file that training started from.
        """
        frame = inspect.currentframe()
        with warnings.catch_warnings():  # a codec among the settings isn't in the state dict
            warnings.filterwarnings("ignore", message="Attribute .* is an instance of `nn.Module`")
            self.save_hyperparameters(frame=frame.f_back if frame else None)
        self.hparams.pop("init_from", None)
        check_optimizer_options(self.hparams)

    def check_sampler(self, sampler: Sampler | None) -> None:
        """Raise UserError for a sampler of another family."""
        if sampler is not None and not isinstance(sampler, self.sampler_type):
            wanted = f"{self.sampler_type.__module__}.{self.sampler_type.__name__}"
            if isinstance(sampler, type):
                raise UserError(f"sampler must be an instance, such as {sampler.__name__}()")
            raise UserError(
                f"{type(sampler).__name__} can't sample {type(self).__name__}, "
                f"which takes a {wanted}"
            )

    def warmed_up(self, optimizer: torch.optim.Optimizer, steps: int) -> dict:
        """Return what `configure_optimizers` must: the learning rate rises over so many steps."""
        warmup = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / max(1, steps))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}

    def stratified_times(self, count: int, batch_idx: int) -> Tensor:
        """Draw times [B] in [0, 1), one from each of as many equal slices.

        The slices span all batches of an optimizer step, of all processes and accumulated ones;
        this batch takes every n-th of n batches' slices.
        """
        accumulated, ranks = self.trainer.accumulate_grad_batches, self.trainer.world_size
        batches = accumulated * ranks
        place = batch_idx % accumulated * ranks + self.global_rank
        slices = torch.arange(count, device=self.device) * batches + place
        draws = torch.rand(count, device=self.device, dtype=torch.float32)
        return (slices + draws) / (count * batches)

    def on_fit_start(self) -> None:
        """Compile the loss for training, where that pays or is asked for."""
        wanted = self.device.type == "cuda" if self.compiles is None else self.compiles
        self._step_losses = Compiled(self.losses, "the training step") if wanted else None

    def encoded(self, batch: Batch) -> Batch:
        """Return the batch with what the codec makes of its audio, where the loss needs that."""
        return batch

    def step_losses(self, batch: Batch, times: Tensor) -> Tensor:
        """Compute the losses [B] at times [B] as `losses` does, compiled where that is set."""
        return (self._step_losses or self.losses)(self.encoded(batch), times)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        clip_gradients(self, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        times = self.stratified_times(num_examples(batch), batch_idx)
        loss = self.step_losses(batch, times).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=num_examples(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log_loss("val", self.fixed_loss(batch, batch_idx), num_examples(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.log_loss("test", self.fixed_loss(batch, batch_idx), num_examples(batch))

    def log_loss(self, stage: str, loss: Tensor, batch_size: int) -> None:
        self.log(f"{stage}/loss", loss, batch_size=batch_size, sync_dist=True, prog_bar=True)

    def fixed_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the mean loss at the same times and with the same noise at every validation."""
        count = num_examples(batch)
        seed = batch_idx * self.trainer.world_size + self.global_rank
        generator = torch.Generator(self.device).manual_seed(seed)
        spaced = (torch.arange(count, device=self.device, dtype=torch.float32) + 0.5) / count
        return self.losses(batch, (spaced + GOLDEN_RATIO * seed) % 1, generator).mean()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Generate a clip beside each real one, for a Demo callback to write."""
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        return self.demo(batch, num_examples(batch), self.window.length, generator)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        if self.conditions:
            checkpoint[CONDITIONS] = self.conditions.as_dict
        if self.codec is not None:
            checkpoint["codec_fingerprint"] = self.codec.fingerprint

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Raise UserError for another model's weights, or for those of another codec's tokens."""
        if not self.conditions:
            self.condition_on(conditions_in(checkpoint, "the checkpoint"))
        if problem := mismatch(self.state_dict(), checkpoint["state_dict"]):
            raise UserError(
                f"the checkpoint holds another model than this one: {problem}; give the --config "
                "files and options that it was made with"
            )
        if self.codec is None:
            return
        theirs, ours = checkpoint.get("codec_fingerprint"), self.codec.fingerprint
        if theirs != ours:
            raise UserError(
                f"the checkpoint was trained on codec {theirs}, this one is {ours}: give the "
                "codec and the level that it was made with"
            )
