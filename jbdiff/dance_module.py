"""Dance Diffusion: v-diffusion of stereo audio, without a codec."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from foundation.audio_module import AudioModel
from foundation.batch import Batch, Cond
from foundation.codec import mono
from foundation.control import Control
from foundation.errors import UserError
from foundation.fused_module import fused_for
from foundation.precision import sampling_precision
from foundation.request import check_request
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.weights import under
from foundation.windows import AudioWindow
from jbdiff.checkpoints import AVERAGE, OURS, load_dance
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_sampling import sine_time, sine_times
from jbdiff.request import check_cond, length_in_samples, with_channels
from jbdiff.samplers import DDIM, LatentSampler, sample_from
from jbdiff.vdiffusion import Generators, VFn, draw_like, inpainted, v_loss
from jbdiff.velocity_net import VelocityNet


class Dance(AudioModel):
    """Diffusion of windows of `length` samples; with `init` it refines what another model made.

    Attributes carry the published names: a checkpoint's `diffusion_ema.*`, or `diffusion.*` of
    ours, which is the average already.

    Args:
        net: the network, whose channels are those of the audio
        length: samples of a window
        sample_rate: in Hz
        learning_rate: Adam's
        sampler: the sampler of demos and of `generate`
        demo_strength: how much of the mono audio the refined demos keep, 0 to 1
        compile: compile the training step and the network; if null, the training step on CUDA
        init_from: weights to start from: a checkpoint or export of Dance, or a published file
    """

    sampler_type = LatentSampler

    def __init__(
        self,
        net: Callable[[], VelocityNet] = DiffusionAttnUnet1D,
        length: int = 65536,
        sample_rate: int = 44100,
        learning_rate: float = 4e-5,
        sampler: LatentSampler = DDIM(steps=250),  # noqa: B008 (frozen)
        demo_strength: float = 0.23,
        compile: bool | None = None,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_settings()
        self.sampler, self.demo_strength, self.learning_rate = sampler, demo_strength, learning_rate
        self.diffusion = net()
        self.diffusion.check_length(length)
        self.start_from(init_from)
        self.compiles = compile
        if compile:
            self.diffusion.compile()
        self.sample_rate = sample_rate
        self.window = AudioWindow(sample_rate, length, channels=self.diffusion.channels)

    def load_weights(self, path: str) -> None:
        load_dance(self.diffusion, path)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict v [B, C, T] of audio x [B, C, T] at times t [B], in float32."""
        return self.diffusion(x, t).float()

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Compute each example's loss [B] at times [B], which the schedule warps."""
        audio = batch["audio"]
        return v_loss(self.velocity, audio, draw_like(audio, generator), sine_time(times))

    @torch.no_grad()
    def sample_audio(
        self,
        noise: Tensor,
        *,
        init: Tensor | None = None,
        strength: float = 0.23,
        sampler: LatentSampler | None = None,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
        wrap: Callable[[VFn], VFn] = lambda v_fn: v_fn,
    ) -> Tensor:
        """Sample audio [B, C, T] from noise [B, C, T], or refine `init` noised by it.

        T is a length that the network takes. The more strength, the more of `init` is kept; at 1 it
        is returned. `wrap` changes the v_fn that is sampled with.
        """
        self.diffusion.check_length(noise.shape[-1])
        with sampling_precision(self.device):
            return sample_from(
                wrap(self.velocity), noise, sampler or self.sampler, sine_times, init, strength,
                generator, on_step,
            )  # fmt: skip

    @torch.no_grad()
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
        """Generate audio [count, C, T] at `sample_rate`; clip i has the noise of seed + i.

        After a prompt it is the prompt and `seconds` more. Without seconds or init it is as long as
        a window. All is sampled at once, so memory grows with the length.
        """
        check_request(seconds, count, prompt, keep, init, strength, cond)
        check_cond(self, cond, count)
        self.check_sampler(sampler)
        own = sampler if isinstance(sampler, LatentSampler) else self.sampler
        if prompt is not None:
            if init is not None:
                raise UserError("Dance takes a prompt to continue or repair, or init, not both")
            return self._inpaint(seconds, count, prompt, keep, own, seed, on_step)
        num_samples = length_in_samples(seconds, init, self.window.length, self.sample_rate)
        generators, noise = self._draw(count, num_samples, seed)
        if init is not None:
            init = with_channels(init, self.window.channels)[..., :num_samples]
            init = fitted(init, noise.shape[-1]).to(self.device).expand_as(noise)
        made = self.sample_audio(
            noise, init=init, strength=strength, sampler=own, generator=generators, on_step=on_step
        )
        return made[..., :num_samples].cpu()

    def _inpaint(
        self,
        seconds: float | None,
        count: int,
        prompt: Tensor,
        keep: Tensor | None,
        sampler: LatentSampler,
        seed: int,
        on_step: OnStep,
    ) -> Tensor:
        """Regenerate what isn't kept of a prompt [C, T], or `seconds` after its last window."""
        audio = with_channels(prompt, self.window.channels)
        early = audio[..., :0]
        if keep is None:
            new = length_in_samples(seconds, None, self.window.length, self.sample_rate)
            early = audio[..., : -self.window.length]
            audio = audio[..., -self.window.length :]
            keep = torch.arange(audio.shape[-1] + new) < audio.shape[-1]
        generators, noise = self._draw(count, len(keep), seed)
        known = fitted(audio, noise.shape[-1]).to(self.device)
        kept = fitted(keep.cpu(), noise.shape[-1]).to(self.device)
        made = self.sample_audio(
            noise, sampler=sampler, generator=generators, on_step=on_step,
            wrap=lambda v_fn: inpainted(v_fn, known, kept[None, None]),
        )  # fmt: skip
        made = torch.where(kept, known, made)[..., : len(keep)].cpu()
        return torch.cat([early.expand(count, -1, -1), made], dim=-1)

    def _draw(self, count: int, length: int, seed: int) -> tuple[list[torch.Generator], Tensor]:
        """Draw a clip's noise from its own generator: [B, C, T], at least `length` samples."""
        multiple = self.diffusion.multiple
        length = max(self.diffusion.min_length, -(-length // multiple) * multiple)
        generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
        shape = (self.window.channels, length)
        noise = torch.stack([torch.randn(shape, generator=own) for own in generators])
        return generators, noise.to(self.device)

    @torch.no_grad()
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Sample from noise, and refine real audio that was mixed to mono: [B, C, T] each."""
        multiple, least = self.diffusion.multiple, self.diffusion.min_length
        length = max(least, min(num_samples, self.window.length) // multiple * multiple)
        real = batch["audio"][:num_demos, :, :length]
        flat = mono(real).expand_as(real)
        shape = (num_demos, self.window.channels, length)
        noise = torch.randn(shape, generator=generator, device=self.device)
        return {
            "sample": self.sample_audio(noise),
            "refined": self.sample_audio(
                noise[: len(flat)], init=flat, strength=self.demo_strength
            ),
            "real": real,
        }

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Take the average of a published file, and refuse another model's weights."""
        average = under(checkpoint["state_dict"], AVERAGE)
        named = {f"{OURS}{name}": value for name, value in average.items()}
        checkpoint["state_dict"] = named or checkpoint["state_dict"]
        super().on_load_checkpoint(checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.diffusion.parameters(), lr=self.learning_rate, fused=fused_for(self)
        )


def fitted(x: Tensor, length: int) -> Tensor:
    """Append zeros to x [..., T] up to a length."""
    return pad(x, (0, length - x.shape[-1]))
