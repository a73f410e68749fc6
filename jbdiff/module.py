"""One level of Jukebox Diffusion: a latent U-Net on the codes of Jukebox's VQ-VAE."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from codec.jukebox import JukeboxCodec
from codec.vqvae import HOPS
from foundation.audio_module import AudioModel
from foundation.batch import Batch, Cond, num_examples
from foundation.errors import UserError
from foundation.request import check_request
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.settings import settings_of
from foundation.weights import read_state
from foundation.windows import TokenWindow
from jbdiff.checkpoints import holds_other_codec, load_unet
from jbdiff.generation import continue_audio, regenerate_audio, sample_windows
from jbdiff.guidance import guided
from jbdiff.request import check_no_cond
from jbdiff.samplers import DPM, LatentSampler, sample_from
from jbdiff.unet import UNet
from jbdiff.vdiffusion import Generators, draw_like, even_times, min_snr_weight, v_loss
from jbdiff.velocity_net import VelocityNet, drop_context, velocity

COARSEST = 2
log = logging.getLogger(__name__)


class JBDiff(AudioModel):
    """v-diffusion of `base_tokens` latents of a level, given the latents before them as context.

    Level 2 starts from noise. Levels 1 and 0 start from their own encoding of what the coarser
    level decodes of the same audio: it takes the place of the noise, in training and after.

    Args:
        jb_level: 2 (coarsest), 1 or 0
        codec_path: weights of the VQ-VAE, such as OpenAI's vqvae.pth.tar; the project's own if null
        net: the network, made with the context's length in latents and the dropout
        base_tokens: latents of a window
        context_mult: length of the context, in windows
        learning_rate: Adam's
        context_dropout: how often training leaves the context out, which guidance needs, 0 to 1
        dropout: the network's; if null, 0.05 at level 2 and none at others
        min_snr_gamma: weight losses by min-SNR with this gamma; not if null
        sampler: the sampler of demos and of `generate`
        guidance: how much demos and `generate` rely on the context; 1 is the plain prediction
        compile: compile the network
        init_from: weights to start from: a checkpoint or export of this level, or one of Jukebox
            Diffusion v1, which can be the codec_path as well
    """

    sampler_type = LatentSampler

    def __init__(
        self,
        jb_level: int = COARSEST,
        codec_path: str | None = None,
        net: Callable[[int, float], VelocityNet] = UNet,
        base_tokens: int = 768,
        context_mult: int = 2,
        learning_rate: float = 4e-5,
        context_dropout: float = 0.1,
        dropout: float | None = None,
        min_snr_gamma: float | None = None,
        sampler: LatentSampler = DPM(steps=50),  # noqa: B008 (frozen)
        guidance: float = 3.66,
        compile: bool = False,
        init_from: str | None = None,
    ):
        if context_mult < 1 or base_tokens < 1 or not 0 <= context_dropout <= 1:
            raise UserError(
                "base_tokens and context_mult must be positive and context_dropout in [0, 1], got "
                f"{base_tokens}, {context_mult} and {context_dropout}"
            )
        codec = JukeboxCodec(jb_level, codec_path)
        super().__init__(codec)
        self.save_settings()
        self.level, self.base_tokens = jb_level, base_tokens
        self.context_tokens = context_mult * base_tokens
        self.context_dropout, self.min_snr_gamma = context_dropout, min_snr_gamma
        self.sampler, self.guidance, self.learning_rate = sampler, guidance, learning_rate
        if dropout is None:
            dropout = 0.05 if jb_level == COARSEST else 0.0
        self.net = net(self.context_tokens, dropout)
        self.net.check_length(base_tokens)
        self.start_from(init_from)
        if compile:
            self.net.compile()
        self.sample_rate = codec.sample_rate
        streams = {"tokens": "tokens"} | ({} if self.from_noise else {"coarser": "round_trip"})
        self.token_window = TokenWindow(base_tokens, self.context_tokens, streams)
        align = HOPS[min(jb_level + 1, COARSEST)]  # where the coarser level has its codes too
        self.window = self.token_window.in_samples(codec.sample_rate, codec.hop, align)

    @property
    def codec(self) -> JukeboxCodec:
        assert self.frozen is not None and isinstance(self.frozen.module, JukeboxCodec)
        return self.frozen.module

    @property
    def from_noise(self) -> bool:
        """Whether this level starts from noise: it is the coarsest."""
        return self.level == COARSEST

    def load_weights(self, path: str) -> None:
        theirs = settings_of(path).get("jb_level", self.level)
        if theirs != self.level:
            raise UserError(f"{path} is of level {theirs}: give one of level {self.level}")
        state = read_state(path)
        load_unet(self.net, state, path)
        if holds_other_codec(state, self.codec.vqvae):
            log.warning("%s was trained on the codec that it holds: add codec_path %s", path, path)

    def latents(self, batch: Batch) -> dict[str, Tensor]:
        """Look up a batch's tokens, or encode its audio: real, context, coarser, all [B, D, L].

        `coarser`, what the coarser level makes of the real audio, is there at levels 1 and 0.
        """
        tokens = batch if "tokens" in batch else self._encode_batch(batch)
        names = {"real": "tokens", "context": "context", "coarser": "coarser"}
        return {
            name: self.codec.tokens_to_latents(tokens[key])
            for name, key in names.items()
            if key in tokens
        }

    def _encode_batch(self, batch: Batch) -> dict[str, Tensor]:
        """Encode a batch of audio to the tokens [B, 1, L] that a batch of tokens has."""
        assert self.token_window is not None
        streams = self.token_window.streams
        made = self.codec.encode_streams(batch["audio"], tuple(streams.values()))
        tokens = {name: made[stream] for name, stream in streams.items()}
        return tokens | {"context": self.codec.encode(batch["context"])}

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Compute each example's loss [B] at times [B]; in training some contexts are dropped."""
        latents = self.latents(batch)
        drop = self.context_dropout if self.training else 0.0
        context = drop_context(self.net, latents["context"], drop, generator)
        noise = latents.get("coarser")
        if noise is None:
            noise = draw_like(latents["real"], generator)
        return v_loss(lambda x, t: velocity(self.net, x, t, context), latents["real"], noise, times)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the plain loss, and train on the loss weighted by min-SNR where that is set."""
        times = self.stratified_times(num_examples(batch))
        losses = self.losses(batch, times)
        self.log("train/loss", losses.mean(), prog_bar=True, batch_size=len(losses))
        if self.min_snr_gamma:
            losses = losses * min_snr_weight(times, self.min_snr_gamma)
        return losses.mean()

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
        sampler: LatentSampler | None = None,
        generator: Generators = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample normalised latents [B, D, L] from noise [B, D, L] after a context [B, D, M].

        With `init` [B, D, L] sampling starts from it, noised; at strength 1 it is returned.
        Guidance and sampler are the model's own where they are None.
        """
        scale = self.guidance if guidance is None else guidance
        v_fn = guided(self.net, context, scale, guidance_rescale)
        return sample_from(
            v_fn, noise, sampler or self.sampler, even_times, init, strength, generator, on_step
        )

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
        cond: Cond | None = None,
        sampler: Sampler | None = None,
        seed: int = 0,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Generate audio [count, 1, T] at `sample_rate`; clip i has the noise of seed + i.

        After a prompt it is the prompt and `seconds` more. Levels 1 and 0 refine `init`, the audio
        of the coarser level; level 2 makes audio that resembles it, and can regenerate the part of
        a prompt that isn't kept. Without seconds or init it is one window.
        """
        check_request(seconds, count, prompt, keep, init, strength, cond)
        check_no_cond("JBDiff", cond)
        sampler = self.own_sampler(sampler)
        if prompt is not None and keep is not None:
            return regenerate_audio(self, prompt, keep, count, sampler, seed, on_step)
        return continue_audio(
            self, seconds, count, prompt, init, strength, sampler, seed, on_step
        )  # fmt: skip

    def own_sampler(self, sampler: Sampler | None) -> LatentSampler:
        """Return the sampler, or the model's; UserError for one of another family."""
        self.check_sampler(sampler)
        return sampler if isinstance(sampler, LatentSampler) else self.sampler

    @torch.no_grad()
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return context, real, coarser (what a finer level starts from) and sample: [B, 1, T].

        Level 2 samples window by window up to `num_samples`; the others refine one window.
        """
        latents = {name: part[:num_demos] for name, part in self.latents(batch).items()}
        windows = max(1, num_samples // self.window.length) if self.from_noise else 1
        noises = (
            latents["coarser"]
            if "coarser" in latents
            else torch.randn(latents["real"].shape, generator=generator, device=self.device)
            for _ in range(windows)
        )
        latents["sample"] = sample_windows(
            self, latents["context"], noises, [None] * windows, 1.0, None, None, ignore_step
        )
        return {name: self.codec.from_latents(part) for name, part in latents.items()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), lr=self.learning_rate)
