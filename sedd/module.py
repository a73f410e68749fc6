"""Train SEDD on the tokens of a codec (Lou et al. 2024, arXiv:2310.16834)."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from codec.grouped import GroupedCodec
from codec.jukebox import JukeboxCodec
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
from foundation.sharded import shard
from foundation.windows import TokenWindow
from sedd.ddit import DDiT
from sedd.draws import Generators
from sedd.generation import fill, plan, splice
from sedd.graph import Absorb, Graph, masks_alone
from sedd.guidance import guided
from sedd.ngram_baseline import NGramBaseline
from sedd.noise import LogLinear, Noise
from sedd.objective import Objective, ScoreEntropy
from sedd.samplers import Analytic, FirstHitting, TokenSampler, check_clean
from sedd.score_net import Conditioned, ScoreNet
from sedd.spans import with_spans
from sedd.weights import load_weights

DEFAULT_SECONDS = 10.0  # of new audio, where `generate` isn't told


class SEDD(AudioModel):
    """Score-entropy discrete diffusion over windows of `length` tokens of each codebook.

    Args:
        codec: what turns audio into tokens; Jukebox's VQ-VAE at level 2 if null
        graph: sedd.graph.Absorb or Uniform, or sedd.hybrid.Hybrid, built with the codec's number
            of tokens
        noise: sedd.noise.LogLinear or Geometric
        net: the score network, built with the graph's number of states and of codebooks
        length: tokens of a window, in each codebook
        learning_rate: AdamW's, after the warm-up
        warmup_steps: steps over which the learning rate rises from 0
        weight_decay: AdamW's
        sampling_eps: the earliest time that training draws, above 0
        objective: sedd.objective.ScoreEntropy or Subs, built with the graph and the noise
        sampler: the sampler of demos, and of `generate` where it is given none; if null,
            FirstHitting where the graph masks tokens, which takes the fewest network calls, and
            Analytic elsewhere
        demo_windows: windows at most in a demo, which lasts no longer than the callback asks
        compile: compile the training step and the network; if null, the training step on CUDA
        init_from: weights to start from: `base`, a checkpoint or export of SEDD, or a published
            file
        start_from_codebooks: start the network's embeddings and output layer from the codec's codes
        spans: share of the training examples whose masks lie in one span, as in repairs; for the
            absorbing graph
        group: consecutive codes in one position, for codecs of one codebook and high rate; `length`
            and the network's number of codebooks are those of the groups
    """

    sampler_type = TokenSampler
    base = Path(__file__).with_name("base")
    token_window: TokenWindow

    def __init__(
        self,
        codec: Codec | None = None,
        graph: Callable[[int], Graph] = Absorb,
        noise: Noise = LogLinear(),  # noqa: B008 (frozen)
        net: Callable[[int, int], ScoreNet] = DDiT,
        length: int = 1024,
        learning_rate: float = 3e-4,
        warmup_steps: int = 2500,
        weight_decay: float = 0.0,
        sampling_eps: float = 1e-3,
        objective: Callable[[Graph, Noise], Objective] = ScoreEntropy,
        sampler: TokenSampler | None = None,
        demo_windows: int = 3,
        compile: bool | None = None,
        init_from: str | None = None,
        start_from_codebooks: bool = False,
        group: int = 1,
        spans: float = 0.0,
    ):
        codec = codec or JukeboxCodec()
        codec.check_streams(("tokens",))
        super().__init__(codec if group == 1 else GroupedCodec(codec, group))
        self.save_settings()
        codec = self.codec
        self.graph, self.noise = graph(codec.codebook_size), noise
        self.objective = objective(self.graph, noise)
        self.trained = objective(with_spans(self.graph, spans), noise) if spans else self.objective
        self.sampler = usual_sampler(self.graph) if sampler is None else sampler
        self.net = net(self.graph.dim, codec.num_codebooks)
        if self.net.absorbing_only and not masks_alone(self.graph):
            raise UserError(
                f"this {type(self.net).__name__} suits graphs that mask tokens alone; a DDiT suits "
                f"{type(self.graph).__name__} with --model.net.scale_by_sigma false"
            )
        self.sampler.check(self.graph)
        if start_from_codebooks:
            self._start_from_codebooks()
        self.start_from(init_from)
        self.compiles = compile
        if compile:
            self.net.compile()
        self.sample_rate = codec.sample_rate
        self.token_window = TokenWindow(length)
        self.window = self.token_window.in_samples(
            codec.sample_rate, codec.hop, channels=codec.channels
        )
        self.val_baseline = NGramBaseline(codec.codebook_size)

    @property
    def codec(self) -> Codec:
        assert self.frozen is not None and isinstance(self.frozen.module, Codec)
        return self.frozen.module

    def _start_from_codebooks(self) -> None:
        vectors = self.codec.code_vectors()
        if vectors is None:
            raise UserError(
                f"{type(self.codec).__name__} has no vectors of its codes: "
                "set start_from_codebooks to false"
            )
        self.net.start_from_codes(vectors)

    def load_weights(self, path: str) -> None:
        load_weights(self.net, path)

    def configure_model(self) -> None:
        """Share the network's weights among processes, where the strategy is to."""
        if self.device_mesh is not None:
            shard(self.net, self.device_mesh, ("mask_scores", "log_score_at"))

    def tokens(self, batch: Batch) -> Tensor:
        """Look up the tokens [B, K, L] of a batch, or encode its audio."""
        return batch["tokens"] if "tokens" in batch else self.codec.encode(batch["audio"])

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, K, L] to audio [B, C, L * hop]; ValueError if the codec doesn't."""
        return self.codec.check_decoded(self.codec.decode(tokens), tokens)

    def encoded(self, batch: Batch) -> Batch:
        return batch if "tokens" in batch else batch | {"tokens": self.tokens(batch)}

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Bound the negative log-likelihood of each example [B], in nats per token.

        With `spans` the loss of training is no bound, as spans are harder; validation's is.
        """
        eps = self.hparams["sampling_eps"]
        net = Conditioned(self.net, cond_of(batch))
        objective = self.trained if self.training else self.objective
        losses = objective.losses(net, self.tokens(batch), eps + (1 - eps) * times, generator)
        check_losses(self.objective, losses, times)
        return losses

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Bound the likelihood: `val/bits_per_token`, beside what n-grams of the tokens reach."""
        tokens = self.tokens(batch)
        codec = self.codec
        in_order = codec.ungroup(tokens) if isinstance(codec, GroupedCodec) else tokens
        self.val_baseline.update(in_order)
        loss = self.fixed_loss(batch | {"tokens": tokens}, batch_idx)
        self.log_loss("val", loss, num_examples(batch))
        bits = loss / math.log(2)
        rate = codec.num_codebooks * self.sample_rate / codec.hop
        values = {"val/bits_per_token": bits, "val/bits_per_second": bits * rate}
        self.log_dict(values, batch_size=num_examples(batch), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        for name, bits in self.val_baseline.bits().items():
            self.log(f"val/{name}_bits_per_token", bits, sync_dist=True)
        self.val_baseline.reset()

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
        """Generate audio [count, C, T], window by window; see `AudioModel.generate`.

        A prompt is continued by `seconds`, or repaired where `keep` is false. What stays of it is
        the prompt itself, with its own channels, or the codec's if it is mono. A clip depends on
        the seed plus its number alone.
        """
        if init is not None:
            raise UserError("SEDD can't start from init audio: give it as a prompt to continue it")
        self.check_sampler(sampler)
        check_request(seconds, count, prompt, keep, init, strength, cond)
        assert sampler is None or isinstance(sampler, TokenSampler)
        if seconds is None and keep is None:
            seconds = DEFAULT_SECONDS
        made = plan(self.codec, self.device, seconds, prompt, keep)
        seeds = range(seed, seed + count)
        generators = [torch.Generator(self.device).manual_seed(number) for number in seeds]
        given, keep = (part.expand(count, -1, -1) for part in (made.tokens, made.keep))
        told, guidance = self.told(cond, count)
        tokens = self.sample_tokens(given, keep, generators, sampler, told, guidance, on_step)
        check_clean(self.sampler if sampler is None else sampler, tokens, self.codec.codebook_size)
        return splice(self.decode(tokens), made, self.sample_rate)

    def sample_tokens(
        self,
        tokens: Tensor,
        keep: Tensor,
        generators: Generators,
        sampler: TokenSampler | None = None,
        cond: Cond | None = None,
        guidance: float = 1.0,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        """Sample what keep [B, K, L] doesn't keep of tokens [B, K, L], of any length."""
        chosen = self.sampler if sampler is None else sampler
        score_fn = guided(self.net, self.objective, cond, guidance)

        def draw(given: Tensor, kept: Tensor, step: OnStep) -> Tensor:
            return chosen.sample(score_fn, self.graph, self.noise, given, kept, generators, step)

        with sampling_precision(self.device):
            return fill(draw, tokens, keep, self.token_window.length, chosen.steps, on_step)

    @torch.no_grad()
    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Sample audio, at most `demo_windows` windows long, and decode real segments."""
        real = self.tokens(batch)[:num_demos]
        longest = self.hparams["demo_windows"] * self.token_window.length
        length = max(1, min(num_samples // self.codec.hop, longest))
        empty = real.new_zeros(num_demos, real.shape[1], length)
        sampled = self.sample_tokens(
            empty, torch.zeros_like(empty, dtype=torch.bool), generator,
            cond=self.demo_cond(batch, num_demos),
        )  # fmt: skip
        return {
            "sample": self.decode(sampled),
            "real": self.decode(real[..., :length]),
        }

    def configure_optimizers(self) -> dict:
        hparams = self.hparams
        optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=hparams["learning_rate"],
            weight_decay=hparams["weight_decay"], fused=fused_for(self),
        )  # fmt: skip
        return self.warmed_up(optimizer, hparams["warmup_steps"])


def usual_sampler(graph: Graph) -> TokenSampler:
    """Return the sampler that takes the fewest network calls for a law, of those that suit it."""
    try:
        FirstHitting().check(graph)
    except UserError:
        return Analytic()
    return FirstHitting()
