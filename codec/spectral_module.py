"""Train the spectral codec."""

import math
from itertools import islice

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from audio.griffin_lim import griffin_lim
from audio.similarity import chroma_cosine, onset_correlation
from codec.spectral import SpectralWeights
from codec.spectral_augment import SpectralAugment
from codec.spectral_loss import SpectralLoss
from codec.spectral_network import SpectralConfig
from codec.spectral_start import start
from codec.vqvae_codebook import CodebookEMA, perplexity
from foundation.codec import mono
from foundation.errors import UserError
from foundation.weights import mismatch
from foundation.windows import AudioWindow


class SpectralModule(LightningModule):
    """Train encoder, decoder and codebooks together, from PCA and k-means of the music.

    An item's decoder is given the latents with a little noise, or what the first k codebooks make
    of them, k at random (quantiser dropout, Zeghidour et al. 2021, arXiv:2107.03312, III-C).

    Args:
        length: samples of a segment
        val_length: samples of a segment to validate on and to hear
        learning_rate: AdamW's, after the warm-up
        warmup_steps: steps over which the learning rate rises from 0
        decay_steps: steps over which it then falls, along a half cosine
        start_batches: batches for PCA and k-means before the first step
        continuous: share of the items whose latents aren't quantised
        noise: the most noise that those are given, in standard deviations of each channel
        commit: weight of the pull of latents towards their codes
        codebook_decay: decay of the codes' averages
        revive_below: replace codes that are used less than this, on average a step
        config: sizes of the codec
        augment: random changes of the music
    """

    deviation: Tensor
    started: Tensor

    def __init__(
        self,
        length: int = 81920,
        val_length: int = 262144,
        learning_rate: float = 1e-3,
        warmup_steps: int = 100,
        decay_steps: int = 10_000,
        start_batches: int = 200,
        continuous: float = 0.4,
        noise: float = 0.05,
        commit: float = 0.1,
        codebook_decay: float = 0.998,
        revive_below: float = 0.015,
        config: SpectralConfig = SpectralConfig(),  # noqa: B008 (frozen)
        augment: SpectralAugment = SpectralAugment(),  # noqa: B008 (frozen)
    ):
        super().__init__()
        self.save_hyperparameters()
        self.config, self.augment = config, augment
        self.learning_rate, self.start_batches = learning_rate, start_batches
        self.warmup_steps, self.decay_steps = warmup_steps, decay_steps
        self.continuous, self.noise, self.commit = continuous, noise, commit
        self.weights = SpectralWeights(config)
        self.loss = SpectralLoss(config)
        stages = self.weights.quantiser.codebooks
        averages = (CodebookEMA(stage, codebook_decay, revive_below) for stage in stages)
        self.averages = nn.ModuleList(averages)
        self.register_buffer("deviation", torch.ones(config.latent_dim))  # of each channel
        self.register_buffer("started", torch.tensor(False))
        self.sample_rate = config.sample_rate
        self.window = AudioWindow(
            config.sample_rate, length, align=config.hop, val_length=val_length
        )

    def on_fit_start(self) -> None:
        """Set PCA and codebooks from the first batches, unless training is resumed."""
        if self.started:
            return
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise UserError("training of the spectral codec starts from a data module's music")
        batches = islice(data.train_dataloader(), self.start_batches)
        music = (self.augmented(batch["audio"].to(self.device)) for batch in batches)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            start(self.weights.network, self.weights.quantiser, music)
        begun = self.trainer.strategy.broadcast(self.weights.state_dict())  # all as the first
        self.weights.load_state_dict(begun)
        self.started.fill_(True)

    def augmented(self, audio: Tensor) -> Tensor:
        """Change audio [B, C, T] at random: magnitudes [B, F, 2L]."""
        audio = self.augment.audio(mono(audio)[:, 0])
        return self.augment.magnitudes(self.config.frames.magnitudes(audio))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        magnitudes = self.augmented(batch["audio"])
        latents = self.weights.network.encode(magnitudes)
        codes, residuals = self.weights.quantiser.quantise(latents.detach())
        given, quantised = self.degraded(latents, codes)
        losses = self.loss(self.weights.network.decode_log(given), magnitudes)
        finest = self.weights.quantiser.decode(codes)
        commitment = (quantised[:, None, None] * (latents - finest).square()).mean()
        self.learn_codes(codes, residuals)
        self.measure(latents.detach())
        self.log("train/loss", losses.mean(), prog_bar=True, batch_size=len(losses))
        return losses.mean() + self.commit * commitment / self.deviation.square().mean()

    def degraded(self, latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Give latents [B, D, L] noise, or round them to some codebooks; which were rounded [B]."""
        count, stages = len(latents), len(self.averages)
        depths = torch.randint(1, stages + 1, (count,), device=latents.device)
        depths[torch.rand(count, device=latents.device) < 0.4] = stages
        quantised = torch.rand(count, device=latents.device) >= self.continuous
        rounded = latents + (self.weights.quantiser.decode_to(codes, depths) - latents).detach()
        strength = self.noise * torch.rand(count, 1, 1, device=latents.device)
        noisy = latents + strength * self.deviation[:, None] * torch.randn_like(latents)
        return torch.where(quantised[:, None, None], rounded, noisy), quantised

    def learn_codes(self, codes: Tensor, residuals: Tensor) -> None:
        """Move codebooks towards residuals [K, B, D, L] that got their codes [B, K, L]."""
        revived = 0
        for average, vectors, chosen in zip(self.averages, residuals, codes.unbind(1), strict=True):
            assert isinstance(average, CodebookEMA)
            vectors = vectors.transpose(1, 2).flatten(0, 1)
            if not average.ready:
                average.initialise(vectors)
            counts = average.update(vectors, chosen.flatten())
            revived += average.revive(vectors)
        self.log("train/perplexity_finest", perplexity(counts.float()))
        self.log("train/revived", float(revived))

    @torch.no_grad()
    def measure(self, latents: Tensor) -> None:
        """Follow mean and deviation of latents [B, D, L]; deviation ** 0.5 half whitens them."""
        mean = latents.mean((0, 2))
        self.weights.shift.lerp_(mean, 0.01)
        variance = (latents - self.weights.shift[:, None]).square().mean((0, 2))
        self.deviation.copy_(self.deviation.square().lerp(variance, 0.01).sqrt())
        self.weights.scale.copy_((self.deviation * self.deviation.mean()).sqrt())

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log_round_trip("val", mono(batch["audio"]))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log_round_trip("test", mono(batch["audio"]))

    def log_round_trip(self, stage: str, audio: Tensor) -> None:
        """Log loss, chroma and onsets of audio [B, 1, T] through latents and through all codes."""
        magnitudes = self.config.frames.magnitudes(audio[:, 0])
        for name, latents in self.ways(magnitudes).items():
            log = self.weights.network.decode_log(latents)
            output = self.audio(self.weights.network.amplitudes(log))
            figures = {
                "loss": self.loss(log, magnitudes).mean(),
                "chroma": chroma_cosine(output, audio),
                "onset": onset_correlation(output, audio),
            }
            for measure, value in figures.items():
                self.log(f"{stage}/{measure}_{name}", value, sync_dist=True, batch_size=len(audio))
            if name == "codes":
                self.log(
                    f"{stage}/loss", figures["loss"], True, sync_dist=True, batch_size=len(audio)
                )

    def ways(self, magnitudes: Tensor) -> dict[str, Tensor]:
        """Encode magnitudes [B, F, 2L] to latents [B, D, L], as they are and as all codes."""
        latents = self.weights.network.encode(magnitudes)
        quantiser = self.weights.quantiser
        return {"latents": latents, "codes": quantiser.decode(quantiser.encode(latents))}

    def audio(self, magnitudes: Tensor) -> Tensor:
        """Find audio [B, 1, T] of magnitudes [B, F, N]."""
        return griffin_lim(magnitudes, self.config.frames).clamp(-1, 1)[:, None]

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the segments and what the codec makes of them, for a Demo to write."""
        generator = torch.Generator(self.device)
        return self.demo(batch, len(batch["audio"]), batch["audio"].shape[-1], generator)

    @torch.no_grad()
    def demo(
        self, batch: dict[str, Tensor], num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the batch's first segments, and both round trips; `sample` is that by codes."""
        length = min(num_samples, batch["audio"].shape[-1]) // self.config.hop * self.config.hop
        audio = mono(batch["audio"][:num_demos, :, :length])
        ways = self.ways(self.config.frames.magnitudes(audio[:, 0]))
        made = {name: self.audio(self.weights.network.decode(z)) for name, z in ways.items()}
        return {"real": audio, "latents": made["latents"], "sample": made["codes"]}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if problem := mismatch(self.state_dict(), checkpoint["state_dict"]):
            raise UserError(f"the checkpoint is not one of this spectral codec: {problem}")

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(
            self.weights.parameters(), lr=self.learning_rate, betas=(0.9, 0.99)
        )

        def share(step: int) -> float:
            """Rise along a line, then fall along a half cosine to 1/50, which holds."""
            fallen = min(1.0, max(0, step - self.warmup_steps) / self.decay_steps)
            rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
            return rise * (0.02 + 0.49 * (1 + math.cos(math.pi * fallen)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
