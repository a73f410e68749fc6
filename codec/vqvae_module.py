"""Train Jukebox's VQ-VAE (Dhariwal et al. 2020, arXiv:2005.00341, section 3)."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from codec.vqvae import SAMPLE_RATE, VQVAE, VQVAEConfig
from codec.vqvae_codebook import CodebookEMA, perplexity
from codec.vqvae_loss import Bandwidth, reconstruction_loss
from foundation.codec import mono
from foundation.errors import UserError
from foundation.weights import mismatch
from foundation.windows import AudioWindow


class VQVAEModule(LightningModule):
    """Train the chosen levels of the VQ-VAE; they share no weights and can be trained apart.

    Args:
        levels: which levels to train, of 0 (finest), 1 and 2
        length: samples of a training window
        val_length: samples of a window in validation and demos
        learning_rate: Adam's, after the warm-up
        warmup_steps: steps over which the learning rate rises from 0
        decay_steps: steps over which it then falls, along a half cosine
        commit: weight of the commitment loss
        codebook_decay: decay of the codes' averages
        revive_below: replace codes that are used less often than this a step, on average
        config: sizes of the network
    """

    def __init__(
        self,
        levels: tuple[int, ...] = (0, 1, 2),
        length: int = 16384,
        val_length: int = 131072,
        learning_rate: float = 6e-4,
        warmup_steps: int = 100,
        decay_steps: int = 100_000,
        commit: float = 0.02,
        codebook_decay: float = 0.99,
        revive_below: float = 0.05,
        config: VQVAEConfig = VQVAEConfig(),  # noqa: B008 (frozen)
    ):
        super().__init__()
        wrong = sorted(set(levels) - set(range(len(config.downs))))
        if wrong or not levels:
            raise UserError(
                f"levels must be among 0 (finest) to {len(config.downs) - 1}, got {levels}"
            )
        self.save_hyperparameters()
        self.vqvae = VQVAE(config)
        self.averages = nn.ModuleDict(
            {
                str(i): CodebookEMA(self.vqvae.codebook(i), codebook_decay, revive_below)
                for i in levels
            }
        )
        self.levels, self.commit = levels, commit
        self.sample_rate = SAMPLE_RATE
        hop = config.hops[max(levels)]
        self.window = AudioWindow(SAMPLE_RATE, length, align=hop, val_length=val_length)

    def average(self, level: int) -> CodebookEMA:
        average = self.averages[str(level)]
        assert isinstance(average, CodebookEMA)
        return average

    def reconstruct(self, audio: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pass audio [B, 1, T] through one level.

        Returns the output [B, 1, T], the encoder's latents [B, D, L] and the codes [B, L].
        """
        codebook = self.vqvae.codebook(level)
        latents = self.vqvae.encoders[level](audio)
        average = self.average(level)
        if not average.ready:
            average.initialise(latents.transpose(1, 2).flatten(0, 1))
        codes, _ = codebook.quantise(latents)
        straight_through = latents + (codebook.look_up(codes) - latents).detach()
        return self.vqvae.decoders[level](straight_through), latents, codes

    def level_loss(self, audio: Tensor, level: int, stage: str) -> Tensor:
        """Compute and log one level's loss of audio [B, 1, T]; in training, move its codebook."""
        output, latents, codes = self.reconstruct(audio, level)
        rounded = self.vqvae.codebook(level).look_up(codes).detach()
        commitment = (latents - rounded).square().mean()
        reconstruction = reconstruction_loss(output, audio, Bandwidth.of(audio))
        vectors = latents.detach().transpose(1, 2).flatten(0, 1)  # [B * L, D]
        if stage == "train":
            average = self.average(level)
            counts = average.update(vectors, codes.flatten())
            self.log(f"train/revived_{level}", float(average.revive(vectors)))
        else:
            counts = torch.bincount(codes.flatten(), minlength=self.vqvae.config.codebook_size)
        self.log(f"{stage}/reconstruction_{level}", reconstruction)
        self.log(f"{stage}/perplexity_{level}", perplexity(counts.float()))
        self.log(f"{stage}/codes_used_{level}", (counts > 0).float().sum())
        return reconstruction + self.commit * commitment

    def loss(self, batch: dict[str, Tensor], stage: str) -> Tensor:
        audio = mono(batch["audio"])
        losses = [self.level_loss(audio, level, stage) for level in self.levels]
        loss = torch.stack(losses).sum()
        self.log(f"{stage}/loss", loss, prog_bar=True, sync_dist=stage != "train")
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch, "train")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch, "val")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self.loss(batch, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Reconstruct a batch by each level, for a Demo callback to write."""
        generator = torch.Generator(self.device)
        count, _, num_samples = batch["audio"].shape
        return self.demo(batch, count, num_samples, generator)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if problem := mismatch(self.state_dict(), checkpoint["state_dict"]):
            raise UserError(f"the checkpoint is not one of these levels of a VQ-VAE: {problem}")

    @torch.no_grad()
    def demo(
        self, batch: dict[str, Tensor], num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the first windows of the batch, and each level's reconstruction, [B, 1, T]."""
        audio = mono(batch["audio"][:num_demos, :, :num_samples])
        outputs = {f"level{i}": self.reconstruct(audio, i)[0].clamp(-1, 1) for i in self.levels}
        return {"original": audio, **outputs}

    def configure_optimizers(self) -> dict:
        options = self.hparams
        weights = [p for i in self.levels for p in self.level_parameters(i)]
        optimizer = torch.optim.Adam(weights, lr=options["learning_rate"], betas=(0.9, 0.99))
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, 0.01, total_iters=options["warmup_steps"]
        )
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer,
            max(1, options["decay_steps"] - options["warmup_steps"]),
            options["learning_rate"] / 50,
        )
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer, [warmup, decay], [options["warmup_steps"]]
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def level_parameters(self, level: int) -> list[nn.Parameter]:
        halves = (self.vqvae.encoders[level], self.vqvae.decoders[level])
        return [parameter for half in halves for parameter in half.parameters()]
