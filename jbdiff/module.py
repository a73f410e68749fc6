"""Train one level of Jukebox Diffusion: a latent U-Net on the codes of Jukebox's VQ-VAE."""

import logging
from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from codec.jukebox import JukeboxCodec
from codec.vqvae import HOPS
from foundation.codec import Frozen
from foundation.settings import settings_of
from foundation.weights import check_checkpoint, read_state
from foundation.windows import TokenWindow
from jbdiff.checkpoints import holds_other_codec, load_unet
from jbdiff.latents import look_up, nearest_codes
from jbdiff.level_sampling import continue_song, generate
from jbdiff.unet import UNet, drop_context, velocity
from jbdiff.vdiffusion import OnStep, ignore_step, min_snr_weight, v_loss

COARSEST = 2
log = logging.getLogger(__name__)


class JBDiff(LightningModule):
    """v-diffusion of `base_tokens` latents of a level, given `context_mult` times as many before.

    Level 2 starts from noise. Levels 1 and 0 start from their own encoding of what the level below
    makes of the same audio: this round trip stands where the noise is, in training and after.

    Args:
        jb_level: 2 (coarsest), 1 or 0
        codec_path: weights of the VQ-VAE, such as OpenAI's vqvae.pth.tar; the project's own if null
        net: the U-Net, made with the context's length and the dropout
        base_tokens: latents of a passage
        context_mult: how many passages before it are the context
        learning_rate: Adam's
        context_dropout: how often training leaves the context out, which guidance needs, 0 to 1
        dropout: the U-Net's; if null, 0.05 at level 2 and none at others
        min_snr_gamma: weight losses by min-SNR with this gamma; not if null
        demo_steps: steps of the sampler in demos
        demo_sampler: ddim, or dpm for few steps
        demo_guidance: how much demos lean on the context; 1 is the plain prediction
        compile: compile the network
        init_from: weights to start from: a checkpoint or export of this level, or one of Jukebox
            Diffusion v1, which can be the codec_path as well
    """

    def __init__(
        self,
        jb_level: int = COARSEST,
        codec_path: str | None = None,
        net: Callable[[int, float], UNet] = UNet,
        base_tokens: int = 768,
        context_mult: int = 2,
        learning_rate: float = 4e-5,
        context_dropout: float = 0.1,
        dropout: float | None = None,
        min_snr_gamma: float | None = None,
        demo_steps: int = 50,
        demo_sampler: str = "dpm",
        demo_guidance: float = 3.66,
        compile: bool = False,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.hparams.pop("init_from", None)  # a checkpoint stands without the file it began from
        codec = JukeboxCodec(jb_level, codec_path)
        if context_mult < 1 or base_tokens < 1 or not 0 <= context_dropout <= 1:
            raise ValueError(
                "base_tokens and context_mult must be positive and context_dropout in [0, 1], got "
                f"{base_tokens}, {context_mult} and {context_dropout}"
            )
        self.frozen = Frozen(codec)
        self.level, self.base_tokens = jb_level, base_tokens
        self.context_tokens = context_mult * base_tokens
        if dropout is None:
            dropout = 0.05 if jb_level == COARSEST else 0.0
        self.net = net(self.context_tokens, dropout)
        if base_tokens % self.net.total_factor:
            raise ValueError(
                f"base_tokens must be a multiple of {self.net.total_factor}, got {base_tokens}"
            )
        if init_from:
            self.load_weights(init_from)
        if compile:
            self.net.compile()
        self.sample_rate = codec.sample_rate
        streams = {"tokens": "tokens"} | ({} if self.from_noise else {"lower": "round_trip"})
        self.token_window = TokenWindow(base_tokens, self.context_tokens, streams)
        align = HOPS[min(jb_level + 1, COARSEST)]  # where the coarser level has its codes too
        self.window = self.token_window.in_samples(codec.sample_rate, codec.hop, align)

    def load_weights(self, path: str) -> None:
        theirs = settings_of(path).get("jb_level", self.level)
        if theirs != self.level:
            raise ValueError(f"{path} is of level {theirs}: give one of level {self.level}")
        state = read_state(path)
        load_unet(self.net, state, path)
        if holds_other_codec(state, self.codec.vqvae):
            log.warning("%s was trained on the codec that it holds: add codec_path %s", path, path)

    @property
    def codec(self) -> JukeboxCodec:
        return self.frozen.module

    @property
    def codebook(self) -> torch.nn.Module:
        return self.codec.vqvae.codebook(self.level)

    @property
    def from_noise(self) -> bool:
        return self.level == COARSEST

    def encode(self, audio: Tensor) -> Tensor:
        """Encode audio [B, C, T] to normalised latents [B, D, L]."""
        return look_up(self.codebook, self.codec.encode(audio)[:, 0])

    def decode(self, latents: Tensor) -> Tensor:
        """Decode normalised latents [B, D, L], each rounded to a code, to audio [B, 1, T]."""
        return self.codec.decode(nearest_codes(self.codebook, latents)[:, None])

    def latents(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Look up a batch's codes, or encode its audio: target, context, lower [B, D, L]."""
        codes = batch if "tokens" in batch else self.encode_batch(batch)
        names = {"target": "tokens", "context": "context", "lower": "lower"}
        return {
            name: look_up(self.codebook, codes[key][:, 0])
            for name, key in names.items()
            if key in codes
        }

    def encode_batch(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Encode a batch of audio to the codes [B, 1, L] that a batch of tokens has."""
        streams = self.token_window.streams
        made = self.codec.encode_streams(batch["audio"], tuple(streams.values()))
        codes = {name: made[stream] for name, stream in streams.items()}
        return codes | {"context": self.codec.encode(batch["context"])}

    def losses(
        self, latents: dict[str, Tensor], noise: Tensor, times: Tensor, drop: float
    ) -> Tensor:
        """Loss of each example [B] at times [B]; `noise` [B, D, L] counts at level 2 alone."""
        context = drop_context(self.net, latents["context"].transpose(1, 2), drop)
        far = latents.get("lower", noise)
        return v_loss(lambda x, t: velocity(self.net, x, t, context), latents["target"], far, times)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        latents = self.latents(batch)
        times = torch.rand(len(latents["target"]), device=self.device)
        noise = torch.randn_like(latents["target"])
        losses = self.losses(latents, noise, times, self.hparams.context_dropout)
        self.log("train/loss", losses.mean(), prog_bar=True)
        if gamma := self.hparams.min_snr_gamma:
            losses = losses * min_snr_weight(times, gamma)
        return losses.mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Measure the loss at the same times and with the same noise at every validation."""
        loss = self.fixed_loss(batch, batch_idx)
        count = len(batch["context"])
        self.log("val/loss", loss, batch_size=count, sync_dist=True, prog_bar=True)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.fixed_loss(batch, batch_idx), sync_dist=True)

    def fixed_loss(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        latents = self.latents(batch)
        target = latents["target"]
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        noise = torch.randn(target.shape, generator=generator, device=self.device)
        times = (torch.arange(len(target), device=self.device) + 0.5) / len(target)
        return self.losses(latents, noise, times, drop=0.0).mean()

    @torch.no_grad()
    def generate(
        self,
        noise: Tensor,
        context: Tensor,
        *,
        steps: int,
        guidance: float,
        guidance_rescale: float = 0.0,
        sampler: str = "ddim",
        init: Tensor | None = None,
        strength: float = 1.0,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample latents [B, D, L] from noise [B, D, L] after a context [B, D, M]."""
        return generate(
            self.net, noise, context, steps, guidance, guidance_rescale, sampler, init, strength,
            on_step,
        )  # fmt: skip

    def demo(
        self, batch: dict[str, Tensor], num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Give context, target, what an upsampler starts from, and the sample, as audio [B, 1, T].

        Level 2 goes on window by window to `num_samples`; the others have one window to work on.
        """
        latents = {name: part[:num_demos] for name, part in self.latents(batch).items()}
        windows = max(1, num_samples // self.window.length) if self.from_noise else 1
        latents["sample"] = continue_song(self, latents, windows, generator)
        return {name: self.decode(part) for name, part in latents.items()}

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        return self.demo(batch, len(batch["context"]), self.window.length, generator)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["codec_fingerprint"] = self.codec.fingerprint

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        check_checkpoint(self, self.codec, checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), lr=self.hparams.learning_rate)
