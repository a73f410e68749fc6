"""Whether samplers that save work draw from the same law: python -m benchmarks.sampler_law.

Each is compared to the plain form of its steps, which calls a small random network at every step
and draws every mask's next state: chi-square of the tokens at each place and of the pairs at
neighbouring places, with the probability of a greater value under one law.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

from sedd.ddit import DDiT
from sedd.graph import Absorb
from sedd.noise import LogLinear, Noise
from sedd.objective import CleanScores, Objective, ScoreEntropy, Subs
from sedd.samplers import Analytic, Euler, FirstHitting, TokenSampler
from sedd.score_net import Conditioned, ScoreFn

CODES, LENGTH, BATCH = 4, 6, 50_000
GRAPH, NOISE = Absorb(CODES), LogLinear()
NETWORKS: dict[str, dict] = {
    "score entropy": {},
    "Subs": {"objective": Subs},
    "reads no time": {"time_conditioning": False},
    "Subs, reads no time": {"objective": Subs, "time_conditioning": False},
}


@dataclass(frozen=True)
class PlainAnalytic(Analytic):
    def pace(self, noise: Noise, t: Tensor, step: float) -> None:
        return None


@dataclass(frozen=True)
class PlainEuler(Euler):
    def pace(self, noise: Noise, t: Tensor, step: float) -> None:
        return None


class Counted(Conditioned):
    """Count the network's calls and the tokens whose scores they returned.

    So short clips are often the same: where one time holds for all, each kind is computed once.
    """

    calls = scored = 0

    def at(self, x: Tensor, sigma: Tensor, where: Tensor) -> Tensor:
        Counted.calls, Counted.scored = Counted.calls + 1, Counted.scored + int(where.sum())
        if (sigma != sigma[0]).any() and not self.time_independent:
            return super().at(x, sigma, where)
        kinds, kind = x.unique(dim=0, return_inverse=True)
        everywhere = torch.ones_like(kinds, dtype=torch.bool)
        scores = super().at(kinds, sigma[: len(kinds)], everywhere)
        return scores.unflatten(0, kinds.shape)[kind][where]


def random_scores(objective: type[Objective] = ScoreEntropy, **options) -> ScoreFn:
    """Make the scores of a small network whose answers depend on all tokens."""
    torch.manual_seed(0)
    net = DDiT(CODES + 1, 1, 16, 1, 2, dropout=0.0, **options).eval()
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.dim() == 2):
            weight.normal_(0, weight.shape[1] ** -0.5)
        net.vocab_embed.embedding.normal_()
        net.output_layer.linear.bias.sub_(0.8)  # a trained one's scores sum to 1 / expm1(sigma)
    return objective(GRAPH, NOISE).log_score(Counted(net))


def draws(sampler: TokenSampler, score_fn: ScoreFn, count: int, seed: int) -> Tensor:
    """Draw tokens [count, LENGTH]."""
    generator, parts = torch.Generator().manual_seed(seed), []
    for first in range(0, count, BATCH):
        empty = torch.zeros(min(BATCH, count - first), 1, LENGTH, dtype=torch.long)
        parts.append(sampler.sample(score_fn, GRAPH, NOISE, empty, empty.bool(), generator))
    return torch.cat(parts)[:, 0]


def counts(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Count the tokens at each place [L, V], and the pairs at neighbouring places [L - 1, V^2]."""
    pairs = CODES * tokens[:, :-1] + tokens[:, 1:]
    singles = torch.stack([torch.bincount(row, minlength=CODES) for row in tokens.T])
    return singles, torch.stack([torch.bincount(row, minlength=CODES**2) for row in pairs.T])


def probability(ours: Tensor, plain: Tensor) -> list[float]:
    """Return for each row of counts [L, N] how probable a greater chi-square is under one law."""
    a, b = ours.double(), plain.double()
    weight = (b.sum(-1, keepdim=True) / a.sum(-1, keepdim=True)).sqrt()
    square = (a * weight - b / weight).square() / (a + b).clamp(min=1)
    free = ((a + b) > 0).sum(-1) - 1
    return torch.special.gammaincc(free / 2, square.sum(-1) / 2).tolist()


def compare(ours: TokenSampler, plain: TokenSampler, score_fn: ScoreFn, count: int) -> list[float]:
    """Return the probabilities of the chi-squares of tokens and pairs."""
    Counted.calls = Counted.scored = 0
    made = counts(draws(ours, score_fn, count, 1))
    calls, scored = Counted.calls, Counted.scored
    Counted.calls = Counted.scored = 0
    expected = counts(draws(plain, score_fn, count, 2))
    found = [p for pair in zip(made, expected, strict=True) for p in probability(*pair)]
    print(
        f"{type(ours).__name__:13s} {ours.steps:4d} steps: least p of {len(found)} "
        f"{min(found):.3f}, calls {calls / Counted.calls:.2f}, tokens scored "
        f"{scored / Counted.scored:.3f} of the plain form's", flush=True,
    )  # fmt: skip
    return found


def pairs(steps: int) -> list[tuple[TokenSampler, TokenSampler]]:
    """Return each sampler beside the plain form of its law."""
    return [
        (Analytic(steps), PlainAnalytic(steps)),
        (Euler(steps), PlainEuler(steps)),
        (FirstHitting(LENGTH), PlainAnalytic(8 * steps)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    names = [type(ours).__name__ for ours, _ in pairs(1)]
    parser.add_argument("--samplers", nargs="+", choices=names, default=names)
    args = parser.parse_args()
    for network in args.networks:
        score_fn = random_scores(**NETWORKS[network])
        print(network)
        for ours, plain in pairs(args.steps):
            # steps draw the masks' pace from networks that aren't normalised, FirstHitting never
            same_law = isinstance(score_fn, CleanScores) or not isinstance(ours, FirstHitting)
            if same_law and type(ours).__name__ in args.samplers:
                compare(ours, plain, score_fn, args.draws)


if __name__ == "__main__":
    main()
