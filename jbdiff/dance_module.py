"""Train Dance Diffusion: a v-diffusion model of stereo audio, unconditional."""

from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from foundation.codec import mono
from foundation.weights import mismatch, under
from foundation.windows import AudioWindow
from jbdiff.checkpoints import AVERAGE, OURS, load_dance
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_sampling import crash, refine, sampler_named, times_below
from jbdiff.vdiffusion import OnStep, ignore_step, v_loss


class Dance(LightningModule):
    """Diffusion of passages of `length` samples; `refine` finishes what another model made.

    Attributes carry the published names: a checkpoint's `diffusion_ema.*`, or `diffusion.*` of
    ours, which is the average already.

    Args:
        net: the network, whose io_channels are those of the audio
        length: samples of a passage
        sample_rate: in Hz
        learning_rate: Adam's
        demo_steps: steps of the sampler in demos
        demo_strength: how much of the mono audio the finished demos keep, 0 to 1
        compile: compile the network
        init_from: weights to start from: a checkpoint or export of Dance, or a published file
    """

    def __init__(
        self,
        net: Callable[[], DiffusionAttnUnet1D] = DiffusionAttnUnet1D,
        length: int = 65536,
        sample_rate: int = 44100,
        learning_rate: float = 4e-5,
        demo_steps: int = 250,
        demo_strength: float = 0.23,
        compile: bool = False,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.hparams.pop("init_from", None)  # a checkpoint stands without the file it began from
        self.diffusion = net()
        self.diffusion.check_length(length)
        if init_from:
            load_dance(self.diffusion, init_from)
        if compile:
            self.diffusion.compile()
        self.sample_rate = sample_rate
        self.window = AudioWindow(sample_rate, length, channels=self.diffusion.io_channels)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict v [B, C, T] of audio x [B, C, T] at times t [B], in float32."""
        return self.diffusion(x, t).float()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        audio = batch["audio"]
        times = self.stratified_times(audio)
        loss = v_loss(self.velocity, audio, torch.randn_like(audio), times).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Measure the loss at the same times and with the same noise at every validation."""
        self.log_dict(self.fixed_loss(batch, batch_idx, "val"), sync_dist=True, prog_bar=True)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log_dict(self.fixed_loss(batch, batch_idx, "test"), sync_dist=True)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        return self.demo(batch, len(batch["audio"]), self.window.length, generator)

    def fixed_loss(self, batch: dict[str, Tensor], batch_idx: int, name: str) -> dict[str, Tensor]:
        """Loss over even times, one for each example, turned on from batch to batch."""
        audio = batch["audio"]
        generator = torch.Generator(audio.device).manual_seed(batch_idx)
        noise = torch.randn(audio.shape, generator=generator, device=audio.device)
        order = torch.arange(len(audio), device=audio.device) / len(audio)
        golden_ratio = 0.618034
        times = crash((order + golden_ratio * (batch_idx + 1)) % 1)
        return {f"{name}/loss": v_loss(self.velocity, audio, noise, times).mean()}

    def stratified_times(self, audio: Tensor) -> Tensor:
        """Draw crash times [B], one from each of as many equal slices of the global batch."""
        batch, ranks = len(audio), self.trainer.world_size
        slices = torch.arange(batch, device=self.device) * ranks + self.global_rank
        return crash((slices + torch.rand(batch, device=self.device)) / (batch * ranks))

    @torch.no_grad()
    def refine(
        self,
        audio: Tensor,
        noise: Tensor,
        steps: int = 150,
        strength: float = 0.23,
        sampler: str = "ddim",
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Finish audio [B, C, T] from partly noised; strength 1 returns it, 0 ignores it."""
        self.diffusion.check_length(audio.shape[-1])
        return refine(self.velocity, audio, noise, steps, strength, sampler, on_step)

    @torch.no_grad()
    def generate(
        self,
        noise: Tensor,
        steps: int = 250,
        sampler: str = "ddim",
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample audio [B, C, T] from noise of that shape."""
        times = times_below(steps, 2.0, noise.device)[:-1]  # all of them, without the 0
        return sampler_named(sampler)(self.velocity, noise, times, on_step=on_step)

    @torch.no_grad()
    def demo(
        self, batch: dict[str, Tensor], num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Sample from noise, and finish real audio that was mixed to mono: [B, C, T] each."""
        multiple, least = self.diffusion.multiple, self.diffusion.min_length
        length = max(least, min(num_samples, self.window.length) // multiple * multiple)
        real = batch["audio"][:num_demos, :, :length]
        flat = mono(real).expand_as(real)
        shape = (num_demos, self.diffusion.io_channels, length)
        noise = torch.randn(shape, generator=generator, device=self.device)
        steps, strength = self.hparams.demo_steps, self.hparams.demo_strength
        return {
            "sample": self.generate(noise, steps),
            "finished": self.refine(flat, noise[: len(flat)], steps, strength),
            "real": real,
        }

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Take the average of a published file, and refuse another model's weights."""
        average = under(checkpoint["state_dict"], AVERAGE)
        named = {f"{OURS}{name}": value for name, value in average.items()}
        checkpoint["state_dict"] = named or checkpoint["state_dict"]
        if problem := mismatch(self.state_dict(), checkpoint["state_dict"]):
            raise ValueError(f"the checkpoint holds another model than this one: {problem}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.diffusion.parameters(), lr=self.hparams.learning_rate)
