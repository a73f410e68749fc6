"""Train SEDD on the tokens of a codec (Lou et al. 2024, arXiv:2310.16834)."""

import math
from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from codec.jukebox import JukeboxCodec
from foundation.codec import Codec, Frozen
from foundation.weights import check_checkpoint
from foundation.windows import TokenWindow
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph
from sedd.ngram_baseline import NGrams
from sedd.noise import LogLinear, Noise
from sedd.samplers import fill, sample
from sedd.weights import load_weights


class SEDD(LightningModule):
    """Score-entropy discrete diffusion of passages of `length` tokens.

    Args:
        codec: what turns audio into tokens; Jukebox's VQ-VAE at level 2 if null
        graph: sedd.graph.Absorb or Uniform, made with the codec's number of tokens
        noise: sedd.noise.LogLinear or Geometric
        net: the score network, made with the graph's number of states
        length: tokens of a passage
        learning_rate: AdamW's, after the warm-up
        warmup_steps: steps over which the learning rate rises from 0
        weight_decay: AdamW's
        sampling_eps: the earliest time that training draws, above 0
        demo_steps: steps of the sampler in demos
        demo_windows: passages at most in a demo, which lasts no longer than the callback asks
        compile: compile the network
        init_from: weights to start from: a checkpoint or export of SEDD, or a published file
    """

    def __init__(
        self,
        codec: Codec | None = None,
        graph: Callable[[int], Graph] = Absorb,
        noise: Noise = LogLinear(),  # noqa: B008 (frozen)
        net: Callable[[int], DDiT] = DDiT,
        length: int = 1024,
        learning_rate: float = 3e-4,
        warmup_steps: int = 2500,
        weight_decay: float = 0.0,
        sampling_eps: float = 1e-3,
        demo_steps: int = 128,
        demo_windows: int = 3,
        compile: bool = False,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.hparams.pop("init_from", None)  # a checkpoint stands without the file it began from
        codec = codec or JukeboxCodec()
        self.frozen = Frozen(codec)
        self.graph, self.noise = graph(codec.codebook_size), noise
        self.net = net(self.graph.dim)
        if self.net.scale_by_sigma and not isinstance(self.graph, Absorb):
            raise ValueError("scale_by_sigma belongs to the absorbing graph: set it to false")
        if init_from:
            load_weights(self.net, init_from)
        if compile:
            self.net.compile()
        self.sample_rate = codec.sample_rate
        self.token_window = TokenWindow(length)
        self.window = self.token_window.in_samples(
            codec.sample_rate, codec.hop, channels=codec.channels
        )
        self.val_ngrams = NGrams(codec.codebook_size)

    @property
    def codec(self) -> Codec:
        return self.frozen.module

    def tokens(self, batch: dict[str, Tensor]) -> Tensor:
        """Look up the tokens [B, L] of a batch, or encode its audio."""
        tokens = batch["tokens"] if "tokens" in batch else self.codec.encode(batch["audio"])
        return tokens[:, 0]

    def loss(self, tokens: Tensor, times: Tensor) -> Tensor:
        """Diffusion-weighted score entropy of tokens [B, L] at times [B], in nats per token."""
        sigma, rate = self.noise.sigma(times), self.noise.rate(times)
        x_t = self.graph.perturb(tokens, sigma)
        log_score = self.net(x_t, sigma)  # [B, L, V]
        entropy = self.graph.score_entropy(log_score, sigma, x_t, tokens)  # [B, L]
        return (rate[:, None] * entropy).mean()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        tokens = self.tokens(batch)
        loss = self.loss(tokens, self.stratified_times(tokens))
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Bound the likelihood: `val/bits_per_token`, beside the tokens' own entropies."""
        tokens = self.tokens(batch)
        bits = self.bits(tokens)
        self.val_ngrams.update(tokens)
        values = {
            "val/loss": bits * math.log(2),
            "val/bits_per_token": bits,
            "val/bits_per_second": bits * self.sample_rate / self.codec.hop,
        }
        self.log_dict(values, batch_size=len(tokens), sync_dist=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        for name, bits in self.val_ngrams.bits().items():
            self.log(f"val/{name}_bits_per_token", bits, sync_dist=True)
        self.val_ngrams.reset()

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("test/bits_per_token", self.bits(self.tokens(batch)), sync_dist=True)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Sample as many passages as the batch has, beside the real ones, for a Demo to write."""
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        count = len(next(iter(batch.values())))
        return self.demo(batch, count, self.window.length, generator)

    def bits(self, tokens: Tensor) -> Tensor:
        """Bound the mean code length of tokens [B, L], in bits per token."""
        return self.loss(tokens, self.stratified_times(tokens)) / math.log(2)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["codec_fingerprint"] = self.codec.fingerprint

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        check_checkpoint(self, self.codec, checkpoint)

    def stratified_times(self, tokens: Tensor) -> Tensor:
        """Draw times [B] in [sampling_eps, 1], one from each of as many equal slices.

        The slices span the global batch: each process takes every world_size-th of them.
        """
        batch, ranks = len(tokens), self.trainer.world_size
        slices = torch.arange(batch, device=self.device) * ranks + self.global_rank
        times = (slices + torch.rand(batch, device=self.device)) / (batch * ranks)
        eps = self.hparams.sampling_eps
        return eps + (1 - eps) * times

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Log score [B, L, V] of tokens [B, L] at total noise [B]."""
        return self.net(x, sigma)

    @torch.no_grad()
    def demo(
        self, batch: dict[str, Tensor], num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Sample audio [B, 1, T], at most `demo_windows` lengths long, and decode real passages."""
        real = self.tokens(batch)[:num_demos]
        most = self.hparams.demo_windows * self.hparams.length
        length = max(1, min(num_samples // self.codec.hop, most))

        def draw(given: Tensor, keep: Tensor) -> Tensor:
            return sample(
                self.score,
                self.graph,
                self.noise,
                steps=self.hparams.demo_steps,
                prompt=given,
                keep=keep,
                generator=generator,
            )

        empty = real.new_zeros(num_demos, length)
        sampled = fill(draw, empty, torch.zeros_like(empty, dtype=torch.bool), self.hparams.length)
        return {
            "sample": self.codec.decode(sampled[:, None]),
            "real": self.codec.decode(real[:, None, :length]),
        }

    def configure_optimizers(self) -> dict:
        hparams = self.hparams
        optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=hparams.learning_rate, weight_decay=hparams.weight_decay
        )
        warmup = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / max(1, hparams.warmup_steps))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}
