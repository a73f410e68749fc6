"""Laws that are known exactly, with the network that would have learned them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sedd.graph import Graph, draw_categorical
from sedd.noise import Noise
from sedd.objective import Subs
from sedd.samplers import TokenSampler
from sedd.score_net import ScoreFn


@dataclass(frozen=True)
class HiddenMarkov:
    """Texts of a hidden Markov model in its stationary state; all float64.

    Attributes:
        start: probabilities [S] of the states, which `step` doesn't change
        step: probabilities [S, S] of the next state
        emit: probabilities [S, C] of a state's token
    """

    start: Tensor
    step: Tensor
    emit: Tensor

    @property
    def codebook_size(self) -> int:
        return self.emit.shape[1]

    def network(self, graph: Graph) -> ScoreFn:
        """Return what a perfect network says: logits of each token given all the others."""

        def logits(x: Tensor, sigma: Tensor) -> Tensor:
            seen = graph.transp_transition(x.flatten(1), sigma.double()).double()  # of each token
            likelihood = seen[..., : self.codebook_size] @ self.emit.T  # [B, L, S]
            law = (self._outside(likelihood) @ self.emit).log()  # [B, L, C]
            rest = graph.dim - self.codebook_size
            return torch.nn.functional.pad(law, (0, rest)).view(*x.shape, graph.dim)

        return logits

    def _outside(self, likelihood: Tensor) -> Tensor:
        """Return the law of each state [B, L, S] given what is seen at all the other places."""
        before, after = [self.start.expand(likelihood[:, 0].shape)], []
        for seen in likelihood.unbind(1)[:-1]:
            before.append(_scaled((before[-1] * seen) @ self.step))
        after.append(torch.ones_like(before[0]))
        for seen in likelihood.flip(1).unbind(1)[:-1]:
            after.append(_scaled((after[-1] * seen) @ self.step.T))
        return torch.stack(before, 1) * torch.stack(after[::-1], 1)

    def law(self, length: int) -> Tensor:
        """Return the exact probabilities [C, ..., C] of so many tokens in a row."""
        joint = self.start[:, None].mul(self.emit).T  # [words, S]
        for _ in range(length - 1):
            joint = (joint @ self.step)[:, None] * self.emit.T
            joint = joint.flatten(0, 1)
        return joint.sum(-1).view((self.codebook_size,) * length)

    def texts(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Draw texts [B, L] as they are."""
        state = draw_categorical(self.start.expand(count, -1), generator)
        tokens = []
        for _ in range(length):
            tokens.append(draw_categorical(self.emit[state], generator))
            state = draw_categorical(self.step[state], generator)
        return torch.stack(tokens, 1)


def _scaled(x: Tensor) -> Tensor:
    return x / x.sum(-1, keepdim=True)


def sticky(size: int = 3, stay: float = 0.85, sure: float = 0.9) -> HiddenMarkov:
    """A model whose states last, each with a token of its own that it mostly emits."""
    one = torch.eye(size, dtype=torch.float64)
    step, emit = (one * (p - (1 - p) / (size - 1)) + (1 - p) / (size - 1) for p in (stay, sure))
    return HiddenMarkov(torch.full((size,), 1 / size, dtype=torch.float64), step, emit)


def two_words(slips: float = 1e-3) -> HiddenMarkov:
    """Texts of the words 'ab' and 'cd', in any order and cut anywhere: tokens 0, 1 and 2, 3.

    Some tokens follow by chance, so that any text has a law of what is missing in it.
    """
    step = torch.tensor(
        [[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1], [0.5, 0, 0.5, 0]], dtype=torch.float64
    )
    step = (1 - slips) * step + slips / 4
    return HiddenMarkov(torch.full((4,), 0.25, dtype=torch.float64), step, torch.eye(4).double())


def sampled(
    sampler: TokenSampler,
    language: HiddenMarkov,
    graph: Graph,
    noise: Noise,
    shape: tuple[int, int, int],
    generator: torch.Generator,
) -> Tensor:
    """Sample a grid [B, K, L] with the language's own network, codebooks after each other."""
    score_fn = Subs(graph, noise).log_score(language.network(graph))
    empty = torch.zeros(shape, dtype=torch.long)
    return sampler.sample(score_fn, graph, noise, empty, empty.bool(), generator)


def distance(tokens: Tensor, language: HiddenMarkov, length: int) -> float:
    """Total variation between the frequencies of so many tokens in a row, of [B, L], and the law.

    0 to 1: the share of them that would have to be others.
    """
    law = language.law(length).flatten()
    runs = tokens.unfold(1, length, 1).flatten(0, 1)  # [N, length]
    powers = language.codebook_size ** torch.arange(length - 1, -1, -1)
    counts = torch.bincount((runs * powers).sum(1), minlength=len(law))
    return float((counts / len(runs) - law).abs().sum() / 2)
