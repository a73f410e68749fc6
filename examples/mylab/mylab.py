"""A class of each kind that music-diffusion can be extended with, in one file of your own.

sedd.yaml and tones.yaml name them by their class paths; docs/extending.md goes through them.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from foundation.audio_module import AudioModel
from foundation.batch import Batch, Cond
from foundation.codec import Codec, mono
from foundation.errors import UserError
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.weights import load_strictly, read_state
from foundation.windows import AudioWindow
from jbdiff.objective import LatentObjective
from jbdiff.samplers import DDIM, LatentSampler
from jbdiff.vdiffusion import VFn, alpha_sigma, even_times, v_loss
from jbdiff.velocity_net import VelocityNet
from metrics.embedding import Embedding
from sedd.draws import Draws
from sedd.graph import Absorb, Graph
from sedd.noise import Noise
from sedd.objective import Objective, ScoreFn
from sedd.samplers import TokenSampler
from sedd.score_net import ScoreNet


@dataclass(frozen=True)
class Cosine(Noise):
    """A noise: the clean fraction exp(-sigma) falls along a quarter of a cosine."""

    eps: float = 1e-3  # fraction of the quarter that is left out, keeps sigma finite

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.log(torch.cos(math.pi / 2 * (1 - self.eps) * t))

    def rate(self, t: Tensor) -> Tensor:
        speed = math.pi / 2 * (1 - self.eps)
        return speed * torch.tan(speed * t)


@dataclass(frozen=True)
class QuickAbsorb(Absorb):
    """A graph: tokens turn into masks at twice the pace of sedd.graph.Absorb."""

    def rate(self, x: Tensor) -> Tensor:
        return 2 * super().rate(x)

    def transp_rate(self, x: Tensor) -> Tensor:
        return 2 * super().transp_rate(x)

    def transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super().transition(x, 2 * sigma)

    def transp_transition(self, x: Tensor, sigma: Tensor) -> Tensor:
        return super().transp_transition(x, 2 * sigma)

    def staggered_score(self, score: Tensor, dsigma: Tensor) -> Tensor:
        return super().staggered_score(score, 2 * dsigma)

    def score_entropy(self, log_score: Tensor, sigma: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        return 2 * super().score_entropy(log_score, 2 * sigma, x, x0)

    def move(self, tokens: Tensor, sigma: Tensor, uniform: Tensor, limit: Tensor) -> Tensor:
        return super().move(tokens, 2 * sigma, uniform, limit)


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """An objective: cross-entropy of the masked tokens, each as heavy as the last one is.

    Sahoo et al. 2024, arXiv:2406.07524, without the schedule's weight.
    """

    def losses(
        self,
        net: ScoreFn,
        tokens: Tensor,
        times: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        sigma = self.noise.sigma(times)
        x_t = self.graph.perturb(tokens, sigma, generator)
        log_probs = net(x_t, sigma)[..., : self.graph.codebook_size].log_softmax(-1)
        missing = -log_probs.gather(-1, tokens[..., None])[..., 0]
        masked = (x_t != tokens).flatten(1)
        return (missing.flatten(1) * masked).sum(1) / masked.sum(1).clamp(min=1)

    def log_score(self, net: ScoreFn) -> ScoreFn:
        """Turn logits into ratios p(y) / p(mask): probabilities times the odds to be unmasked."""

        def score_fn(x: Tensor, sigma: Tensor) -> Tensor:
            logits = net(x, sigma)
            log_probs = logits[..., : self.graph.codebook_size].log_softmax(-1)
            law = self.graph.transition(torch.zeros_like(sigma).long(), sigma)  # [B, V], of token 0
            odds = law[:, 0] / law[:, -1]
            scores = log_probs + odds.log()[:, None, None, None]
            return torch.cat([scores, torch.zeros_like(logits[..., :1])], dim=-1)

        return score_fn


@dataclass(frozen=True)
class MostCertain(TokenSampler):
    """A sampler: in each step the tokens that the network is surest of are drawn.

    Args:
        steps: network calls
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
    """

    steps: int = 16

    def check(self, graph: Graph) -> None:
        if graph.mask_id is None:
            raise UserError("MostCertain fills masks: it needs an absorbing graph")

    def reverse(
        self,
        score_fn: ScoreFn,
        graph: Graph,
        noise: Noise,
        x: Tensor,
        free: Tensor,
        draws: Draws,
        on_step: OnStep,
    ) -> Tensor:
        masked = free & graph.movable(x)
        per_step = -(-masked.flatten(1).sum(1) // self.steps)
        for done, t in enumerate(torch.linspace(1, 1 / self.steps, self.steps, device=x.device)):
            if masked.any():
                probs = self.jumps(score_fn, x, masked, noise.sigma(t))
                probs = probs[:, : graph.codebook_size].softmax(-1)
                drawn, surest = x.clone(), torch.zeros(x.shape, dtype=probs.dtype, device=x.device)
                drawn[masked] = draws.categorical(probs, masked)
                surest[masked] = probs.amax(-1)
                order = surest.flatten(1).argsort(1, descending=True).argsort(1).view_as(x)
                now = masked & (order < per_step[:, None, None])
                x, masked = torch.where(now, drawn, x), masked & ~now
            on_step(done + 1, self.steps)
        return x


class ConvNet(ScoreNet):
    """A score network: convolutions over time, with the noise level added to each channel.

    Args:
        vocab_size: the graph's states
        num_codebooks: tokens at each position
        width: channels
    """

    def __init__(self, vocab_size: int, num_codebooks: int = 1, width: int = 32):
        super().__init__()
        self.num_codebooks = num_codebooks
        tables = [nn.Embedding(vocab_size, width) for _ in range(num_codebooks)]
        self.embeddings = nn.ModuleList(tables)
        self.level = nn.Linear(1, width)
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 5, padding=2),
            nn.SiLU(),
            nn.Conv1d(width, num_codebooks * vocab_size, 5, padding=2),
        )

    def forward(self, x: Tensor, sigma: Tensor, cond: Cond | None = None) -> Tensor:
        embedded = sum(table(x[:, k]) for k, table in enumerate(self.embeddings))  # [B, L, width]
        h = embedded + self.level(sigma.float()[:, None])[:, None]
        scores = self.body(h.transpose(1, 2)).unflatten(1, (self.num_codebooks, -1))
        return scores.transpose(2, 3).float().scatter(-1, x[..., None], 0)


class Mixing(VelocityNet):
    """A velocity network: two convolutions over the context and the window.

    Args:
        context_length: latents before the window
        dropout: between the convolutions
        width: channels between them
    """

    channels = 128

    def __init__(self, context_length: int = 0, dropout: float = 0.0, width: int = 64):
        super().__init__()
        self.enter = nn.Conv1d(self.channels, width, 9, padding=4)
        self.level = nn.Linear(1, width)
        self.leave = nn.Conv1d(width, self.channels, 9, padding=4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        both = x if context is None else torch.cat([context, x], dim=-1)
        h = self.enter(both) + self.level(t[:, None])[..., None]
        return self.leave(self.dropout(h).relu())[..., -x.shape[-1] :]


@dataclass(frozen=True)
class AbsoluteV(LatentObjective):
    """An objective: v-diffusion with the mean absolute error."""

    def losses(self, net: VFn, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(times[:, None, None])
        v = net(alpha * clean + sigma * noise, times)
        return (v - (alpha * noise - sigma * clean)).abs().mean(dim=(1, 2))

    def velocity(self, net: VFn) -> VFn:
        return net


class PitchCodec(Codec):
    """A codec: the pitch and the loudness of the strongest partial, 43 times a second.

    Args:
        low: the lowest pitch, in Hz
    """

    sample_rate, hop, num_codebooks, codebook_size = 22050, 512, 2, 64
    fft = 2048
    pitches: Tensor

    def __init__(self, low: float = 80.0):
        super().__init__()
        self.low = low
        self.register_buffer("pitches", low * 2 ** (torch.arange(64) / 12))  # semitones, in Hz

    @property
    def fingerprint(self) -> str:
        return f"pitch-{self.low:g}"

    def encode(self, audio: Tensor) -> Tensor:
        audio = mono(audio)[:, 0]
        length = -(-audio.shape[-1] // self.hop)
        window = torch.hann_window(self.fft, device=audio.device)
        spectrum = torch.stft(
            audio, self.fft, self.hop, window=window, pad_mode="constant", return_complex=True
        ).abs()[..., :length]
        bins = (self.pitches * self.fft / self.sample_rate).round().long()
        loudness, pitch = spectrum[:, bins].max(1)
        decibels = 20 * (loudness * 4 / self.fft).clamp(min=1e-6).log10()
        return torch.stack([pitch, (63 + decibels).clamp(0, 63).long()], dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        self.check_tokens(tokens)
        pitch, loudness = tokens.repeat_interleave(self.hop, -1).unbind(1)
        level = 10 ** ((loudness - 63.0) / 20) * (loudness > 0)
        phase = (2 * math.pi / self.sample_rate * self.pitches[pitch]).cumsum(-1)
        return (level * torch.sin(phase))[:, None]


class Bands(Embedding):
    """A FAD embedding: mean level of eight bands of frequency, in half a second each."""

    name, sample_rate, dim, shortest = "bands", 16000, 8, 8000
    front_end = "16 kHz mono, half seconds"

    def examples(self, audio: Tensor) -> Tensor:
        return audio.unfold(-1, self.shortest, self.shortest)

    def embed(self, examples: Tensor) -> Tensor:
        power = torch.fft.rfft(examples).abs().square()[:, 1:4001]
        return power.unflatten(1, (self.dim, -1)).mean(-1).clamp(min=1e-9).log10()


class LossDiary(Callback):
    """A callback: write every validation's loss to diary.txt in the run's folder."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            loss = trainer.callback_metrics["val/loss"]
            with Path(trainer.default_root_dir, "diary.txt").open("a") as file:
                file.write(f"step {trainer.global_step}: {loss:.4f}\n")


class Tones(AudioModel):
    """A model of one's own: v-diffusion of the waveform by a few convolutions.

    Args:
        width: channels of the network
        length: samples of a window
        sampler: what draws from it
        init_from: a checkpoint to start from
    """

    sampler_type = LatentSampler

    def __init__(
        self,
        width: int = 16,
        length: int = 4096,
        sampler: LatentSampler = DDIM(steps=8),  # noqa: B008 (frozen)
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_settings()
        self.sampler = sampler
        self.net = nn.Sequential(
            nn.Conv1d(2, width, 9, padding=4), nn.SiLU(), nn.Conv1d(width, 1, 9, padding=4)
        )
        self.sample_rate, self.window = 22050, AudioWindow(22050, length)
        self.start_from(init_from)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(torch.cat([x, t[:, None, None].expand_as(x)], dim=1)).float()

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        audio = batch["audio"]
        noise = torch.randn(audio.shape, generator=generator, device=audio.device)
        return v_loss(self.velocity, audio, noise, times)

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
        if prompt is not None or init is not None:
            raise UserError("Tones starts from noise alone: it takes no prompt and no init audio")
        self.check_sampler(sampler)
        num_samples = self.window.length if seconds is None else round(seconds * self.sample_rate)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, 1, num_samples, generator=generator).to(self.device)
        return self.draw(noise, sampler, on_step)

    def draw(self, noise: Tensor, sampler: Sampler | None, on_step: OnStep) -> Tensor:
        chosen = sampler if isinstance(sampler, LatentSampler) else self.sampler
        times = even_times(chosen.steps, None, noise.device)
        return chosen.sample(self.velocity, noise, times, on_step=on_step).clamp(-1, 1)

    @torch.no_grad()
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        noise = torch.randn(num_demos, 1, num_samples, generator=generator, device=generator.device)
        return {"sample": self.draw(noise, None, ignore_step), "real": batch["audio"][:num_demos]}

    def load_weights(self, path: str) -> None:
        load_strictly(self, read_state(path), f"{path} isn't a checkpoint of Tones")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)
