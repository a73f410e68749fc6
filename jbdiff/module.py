"""One level of Jukebox Diffusion: latent diffusion on a codec's latents."""

from collections.abc import Callable

import torch
from torch import Tensor

from foundation.audio_module import AudioModel
from foundation.batch import Batch, Cond, cond_of, num_examples
from foundation.codec import Codec
from foundation.control import Control
from foundation.errors import UserError
from foundation.fused_module import fused_for
from foundation.precision import sampling_precision
from foundation.request import check_request
from foundation.returned import check_losses
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.windows import TokenWindow
from jbdiff.checkpoints import load_level
from jbdiff.generation import continue_audio, encode_end, regenerate_audio, sample_windows
from jbdiff.guidance import guided
from jbdiff.levels import (
    BASE_FOLDER,
    align_of,
    check_channels,
    codec_of,
    defaults_of,
    given,
    main_stream,
)
from jbdiff.objective import LatentObjective, VDiffusion
from jbdiff.request import check_cond
from jbdiff.samplers import DPM, LatentSampler, sample_from
from jbdiff.vdiffusion import Generators, VFn, draw_like, even_times, min_snr_weight
from jbdiff.velocity_net import VelocityNet, drop_context, shorten_context, velocity


class JBDiff(AudioModel):
    """Diffusion of `base_tokens` latents of a level, given the latents before them as context.

    Levels 3 and 2 start from noise. Levels 1 and 0 start from their own encoding of what the
    coarser level decodes of the same audio: it takes the place of the noise, in training and after.
    With `coarser` level 2 does so too. Options that are null have a default for each level.

    Args:
        jb_level: 3 (coarsest, latents of the spectral codec), or Jukebox's levels 2, 1 and 0
        codec_path: weights of the codec, at levels 2 to 0 of the VQ-VAE such as OpenAI's
            vqvae.pth.tar; the project's own if null
        codec: another codec with continuous latents, of level 3 alone
        coarser: level 3's codec, for a level 2 that refines level 3's audio; from noise if null
        net: the network, made with the context's length in latents and the dropout; if null,
            LatentDiT at level 3, UNet at others
        objective: what is learned; if null, RectifiedFlow at level 3, VDiffusion at others
        base_tokens: latents of a window; if null, 192 at level 3 (8.9 s), 768 at others
        context_mult: length of the context, in windows; if null, 1 at level 3, 2 at others
        learning_rate: Adam's; if null, 1e-3 at level 3, 4e-5 at others
        warmup_steps: steps over which it rises; if null, 200 at level 3, none at others
        context_dropout: how often training leaves the context out, which guidance needs, 0 to 1
        dropout: the network's; if null, 0.05 at level 2 and none at others
        min_snr_gamma: weight losses of VDiffusion by min-SNR with this gamma; not if null
        sampler: the sampler of demos and of `generate`
        guidance: how much demos and `generate` rely on the context; 1 is the plain prediction; if
            null, 1.5 at level 3, 3.66 at others
        compile: compile the training step and the network; if null, the training step on CUDA
        init_from: weights to start from: `base` at level 3, a checkpoint or export of this level,
            or one of Jukebox Diffusion v1, which can be the codec_path as well
    """

    sampler_type = LatentSampler
    base = BASE_FOLDER

    def __init__(
        self,
        jb_level: int = 2,
        codec_path: str | None = None,
        codec: Codec | None = None,
        coarser: Codec | None = None,
        net: Callable[[int, float], VelocityNet] | None = None,
        objective: LatentObjective | None = None,
        base_tokens: int | None = None,
        context_mult: int | None = None,
        learning_rate: float | None = None,
        warmup_steps: int | None = None,
        context_dropout: float = 0.1,
        dropout: float | None = None,
        min_snr_gamma: float | None = None,
        sampler: LatentSampler = DPM(steps=50),  # noqa: B008 (frozen)
        guidance: float | None = None,
        compile: bool | None = None,
        init_from: str | None = None,
    ):
        usual = defaults_of(jb_level)
        base_tokens = given(base_tokens, usual.base_tokens)
        context_mult = given(context_mult, usual.context_mult)
        if context_mult < 1 or base_tokens < 1 or not 0 <= context_dropout <= 1:
            raise UserError(
                "base_tokens and context_mult must be positive and context_dropout in [0, 1], got "
                f"{base_tokens}, {context_mult} and {context_dropout}"
            )
        super().__init__(codec_of(jb_level, codec_path, codec, coarser))
        self.save_settings()
        self.level, self.base_tokens = jb_level, base_tokens
        self.context_tokens = context_mult * base_tokens
        self.context_dropout, self.min_snr_gamma = context_dropout, min_snr_gamma
        self.sampler, self.guidance = sampler, given(guidance, usual.guidance)
        self.learning_rate = given(learning_rate, usual.learning_rate)
        self.warmup_steps = given(warmup_steps, usual.warmup_steps)
        self.objective = given(objective, usual.objective)
        if min_snr_gamma and not isinstance(self.objective, VDiffusion):
            raise UserError("min_snr_gamma weighs losses of VDiffusion: leave it out")
        self.net = given(net, usual.net)(self.context_tokens, given(dropout, usual.dropout))
        check_channels(self.net, self.codec)
        self.net.check_length(base_tokens)
        self.start_from(init_from)
        self.compiles = compile
        if compile:
            self.net.compile()
        self.sample_rate, self.stream = self.codec.sample_rate, main_stream(self.codec)
        streams = {self.stream: self.stream}
        streams |= {} if self.from_noise else {"coarser": "round_trip"}
        self.token_window = TokenWindow(base_tokens, self.context_tokens, streams)
        self.window = self.token_window.in_samples(
            self.sample_rate, self.codec.hop, align_of(self.codec), self.codec.channels
        )

    @property
    def codec(self) -> Codec:
        assert self.frozen is not None
        return self.frozen.module

    @property
    def from_noise(self) -> bool:
        """Whether this level starts from noise, not from the coarser level's audio."""
        return "round_trip" not in self.codec.stream_names

    def load_weights(self, path: str) -> None:
        load_level(self.net, self.codec, self.level, path)

    def latents(self, batch: Batch) -> dict[str, Tensor]:
        """Look up a batch's tokens, or encode its audio: real, context, coarser, all [B, D, L].

        `coarser`, what the coarser level makes of the real audio, is there where it is refined.
        """
        parts = batch if self.stream in batch else self._encode_batch(batch)
        names = {"real": self.stream, "context": "context", "coarser": "coarser"}
        parts = {name: parts[key] for name, key in names.items() if key in parts}
        if self.codec.continuous:
            return parts
        return {name: self.codec.tokens_to_latents(tokens) for name, tokens in parts.items()}

    def _encode_batch(self, batch: Batch) -> dict[str, Tensor]:
        """Encode a batch of audio to the streams that a batch of stored ones has."""
        assert self.token_window is not None
        streams = self.token_window.streams
        made = self.codec.encode_streams(batch["audio"], tuple(streams.values()))
        context = self.codec.encode_streams(batch["context"], (self.stream,))
        parts = {name: made[stream] for name, stream in streams.items()}
        return parts | {"context": context[self.stream]}

    def encoded(self, batch: Batch) -> Batch:
        return batch if self.stream in batch else batch | self._encode_batch(batch)

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Compute each example's loss [B] at times [B]; in training some contexts are dropped."""
        latents = self.latents(batch)
        drop = self.context_dropout if self.training else 0.0
        context = latents["context"]
        if self.codec.continuous:
            context = shorten_context(self.net, context, drop, generator)
        context = drop_context(self.net, context, drop, generator)
        noise = latents.get("coarser")
        if noise is None:
            noise = draw_like(latents["real"], generator)
        losses = self.objective.losses(
            lambda x, t: velocity(self.net, x, t, context, cond_of(batch)),
            *(latents["real"], noise, times),
        )
        check_losses(self.objective, losses, times)
        return losses

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the plain loss, and train on the loss weighted by min-SNR where that is set."""
        times = self.stratified_times(num_examples(batch), batch_idx)
        losses = self.step_losses(batch, times)
        self.log("train/loss", losses.mean(), prog_bar=True, batch_size=len(losses))
        if self.min_snr_gamma:
            losses = losses * min_snr_weight(times, self.min_snr_gamma)
        return losses.mean()

    def fill_context(self, latents: Tensor) -> Tensor:
        """Return the context [B, D, M] that ends with latents [B, D, N], as far as they go back.

        Before them is silence, or where latents are continuous the network's null context.
        """
        missing = self.context_tokens - latents.shape[-1]
        if missing <= 0:
            return latents[..., -self.context_tokens :]
        shape = (len(latents), latents.shape[1], self.context_tokens)
        if self.codec.continuous:
            before = self.net.null_context(latents.new_zeros(shape))
        else:
            before = encode_end(self, latents.new_zeros(1, 1, 0)).expand(shape)
        return torch.cat([before[..., -missing:], latents], dim=-1)

    def v_fn(
        self,
        context: Tensor,
        guidance: float | None = None,
        rescale: float = 0.0,
        cond: Control | Cond | None = None,
    ) -> VFn:
        """Return the velocity that samplers follow after a context [B, D, M]."""
        scale, told = given(guidance, self.guidance), self.told(cond, len(context))
        return self.objective.velocity(guided(self.net, context, scale, rescale, *told))

    @torch.no_grad()
    def sample_latents(
        self,
        noise: Tensor,
        context: Tensor,
        *,
        init: Tensor | None = None,
        strength: float = 1.0,
        guidance: float | None = None,
        guidance_rescale: float = 0.0,
        cond: Control | Cond | None = None,
        sampler: LatentSampler | None = None,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample normalised latents [B, D, L] from noise [B, D, L] after a context [B, D, M].

        With `init` [B, D, L] sampling starts from it, noised; at strength 1 it is returned.
        Guidance and sampler are the model's own where they are None.
        """
        with sampling_precision(self.device):
            return sample_from(
                self.v_fn(context, guidance, guidance_rescale, cond), noise,
                sampler or self.sampler, even_times, init, strength, generator, on_step,
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

        After a prompt it is the prompt and `seconds` more. Levels 1 and 0 refine `init`, the audio
        of the coarser level; a level that starts from noise makes audio that resembles it, and can
        regenerate the part of a prompt that isn't kept. Without seconds or init it is one window.
        """
        check_request(seconds, count, prompt, keep, init, strength, cond)
        check_cond(self, cond, count)
        sampler = self.own_sampler(sampler)
        if prompt is not None and keep is not None:
            return regenerate_audio(self, prompt, keep, count, cond, sampler, seed, on_step)
        return continue_audio(
            self, seconds, count, prompt, init, strength, cond, sampler, seed, on_step
        )  # fmt: skip

    def own_sampler(self, sampler: Sampler | None) -> LatentSampler:
        """Return the sampler, or the model's; UserError for one of another family."""
        self.check_sampler(sampler)
        return sampler if isinstance(sampler, LatentSampler) else self.sampler

    @torch.no_grad()
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return context, real, coarser (what a finer level starts from) and sample: [B, C, T].

        From noise it samples window by window up to `num_samples`; others refine one window.
        """
        latents = {name: part[:num_demos] for name, part in self.latents(batch).items()}
        windows = max(1, num_samples // self.window.length) if self.from_noise else 1
        noises = (
            latents["coarser"]
            if "coarser" in latents
            else torch.randn(latents["real"].shape, generator=generator, device=self.device)
            for _ in range(windows)
        )
        told = self.demo_cond(batch, len(latents["context"]))
        latents["sample"] = sample_windows(
            self, latents["context"], noises, [None] * windows, 1.0, told, None, None, ignore_step
        )
        codec = self.codec
        return {
            name: codec.check_decoded(codec.from_latents(part), part)
            for name, part in latents.items()
        }

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.Adam(
            self.net.parameters(), lr=self.learning_rate, fused=fused_for(self)
        )
        if not self.warmup_steps:
            return {"optimizer": optimizer}
        return self.warmed_up(optimizer, self.warmup_steps)
