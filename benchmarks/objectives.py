"""What each objective of SEDD reaches in the same CPU time: bits of held-out audio per second.

    python -m benchmarks.objectives TRAIN VALID [--minutes 3] [--seeds 3] [--runs "subs" …]

TRAIN and VALID are folders of music, or token stores that `encode` made with the codec that
--codebooks says. Every run has the same network, optimiser, data order and seeds; the learning rate
rises over 100 steps and falls to 0 over the CPU time, which leaves out encoding and judging. The
bound of the held-out likelihood is that of the same windows, at the same times.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import music_diffusion as md
from codec.spectral import SpectralCodec
from datamodules.token_store import TokenStore
from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph, Uniform
from sedd.hybrid import Hybrid
from sedd.module import SEDD
from sedd.noise import Geometric, LogLinear, Noise
from sedd.objective import Objective, ScoreEntropy, Subs

Kind = tuple[Callable[[int], Graph], Callable[[Graph, Noise], Objective], Noise]
RUNS: dict[str, Kind] = {
    "score entropy, absorb": (Absorb, ScoreEntropy, LogLinear()),
    "subs, absorb": (Absorb, Subs, LogLinear()),
    "subs, hybrid 0.1": (partial(Hybrid, uniform=0.1), Subs, LogLinear()),
    "subs, uniform": (Uniform, Subs, LogLinear()),
    "score entropy, uniform": (Uniform, ScoreEntropy, LogLinear()),
    "score entropy, uniform, geometric": (Uniform, ScoreEntropy, Geometric()),
}
JUDGED = 64  # held-out windows
TIMES = 4  # at which each of them is judged


def tokens_of(source: str, codec: SpectralCodec) -> list[Tensor]:
    """Read the tokens [K, L] of each track of a token store, or encode those of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            store = TokenStore.open(Path(source))
        except UserError:
            store = TokenStore.open(md.encode(source, folder, codec=codec, accelerator="cpu"))
        return [store.read(row, "tokens") for row in range(len(store))]


def windows(tracks: list[Tensor], length: int, count: int, draw: torch.Generator) -> Tensor:
    """Draw windows [B, K, length] of tracks, each as often as it is long."""
    rooms = torch.tensor([max(0, track.shape[1] - length + 1) for track in tracks])
    chosen = torch.multinomial(rooms.float(), count, replacement=True, generator=draw)
    starts = (torch.rand(count, generator=draw) * rooms[chosen]).long()
    pairs = zip(chosen.tolist(), starts.tolist(), strict=True)
    return torch.stack([tracks[track][:, start : start + length] for track, start in pairs])


def train(model: SEDD, tracks: list[Tensor], minutes: float, batch: int, seed: int) -> int:
    """Train for so many CPU minutes; return the steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.3)
    draw, start, step = torch.Generator().manual_seed(seed), time.process_time(), 0
    model.train()
    while (gone := (time.process_time() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * (1 - gone)
        times = (torch.arange(batch) + torch.rand(batch, generator=draw)) / batch
        tokens = windows(tracks, model.token_window.length, batch, draw)
        model.losses({"tokens": tokens}, times, draw).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    return step


@torch.no_grad()
def judge(model: SEDD, tracks: list[Tensor]) -> float:
    """Bound the bits of a second of held-out audio."""
    model.eval()
    draw, codec = torch.Generator().manual_seed(0), model.codec
    tokens = windows(tracks, model.token_window.length, JUDGED, draw)
    spaced = (torch.arange(JUDGED * TIMES) + 0.5) / (JUDGED * TIMES)
    times = spaced[torch.randperm(len(spaced), generator=draw)].view(TIMES, -1)
    parts = [
        model.losses({"tokens": batch}, t, draw)
        for row in times
        for batch, t in zip(tokens.split(16), row.split(16), strict=True)
    ]
    rate = codec.num_codebooks * codec.sample_rate / codec.hop
    return float(torch.cat(parts).mean()) / 0.6931472 * rate


def run(kind: Kind, options: argparse.Namespace, train_on: list, judge_on: list, seed: int):
    """Train and judge a run; return its bits per second and steps."""
    torch.manual_seed(seed)
    graph, objective, noise = kind
    net = partial(
        DDiT, hidden_size=options.hidden, num_blocks=options.blocks, num_heads=4, dropout=0.1,
        conv=3, scale_by_sigma=graph is Absorb,
    )  # fmt: skip
    model = SEDD(
        SpectralCodec(num_codebooks=options.codebooks), graph, noise, net, options.length,
        objective=objective, start_from_codebooks=True,
    )  # fmt: skip
    steps = train(model, train_on, options.minutes, options.batch, seed)
    return judge(model, judge_on), steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", help="a folder of music, or a token store")
    parser.add_argument("valid", help="the same, held out")
    parser.add_argument("--minutes", type=float, default=3.0, help="CPU time of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--codebooks", type=int, default=4)
    parser.add_argument("--length", type=int, default=180)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    codec = SpectralCodec(num_codebooks=options.codebooks)
    train_on, judge_on = (tokens_of(source, codec) for source in (options.train, options.valid))
    print("| | bits per second, held out | of each seed | steps |\n| --- | --- | --- | --- |")
    for name in options.runs:
        results = [run(RUNS[name], options, train_on, judge_on, s) for s in range(options.seeds)]
        bits, steps = zip(*results, strict=True)
        each = ", ".join(f"{value:.1f}" for value in bits)
        row = f"{statistics.mean(bits):.1f} | {each} | {statistics.mean(steps):.0f}"
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
