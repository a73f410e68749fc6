"""Sample SEDD with a sampler of one's own: python examples/own_sampler.py CHECKPOINT [OUT.wav].

On the command line: sample CHECKPOINT --sampler own_sampler.LeftToRight, run in this folder.
"""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

import music_diffusion as md
from audio import files
from foundation.sampler import OnStep
from sedd.draws import Draws
from sedd.graph import Graph
from sedd.noise import Noise
from sedd.objective import ScoreFn
from sedd.samplers import TokenSampler


@dataclass(frozen=True)
class LeftToRight(TokenSampler):
    """Unmask the tokens of an absorbing graph in their order, some with each network call."""

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
        length = x.shape[-1]
        for step in range(self.steps):
            now = torch.zeros_like(free)
            now[..., length * step // self.steps : length * (step + 1) // self.steps] = True
            now &= free
            if now.any():
                time = torch.ones(len(x), device=x.device) * (1 - step / self.steps)
                log_score = self.jumps(score_fn, x, now, noise.sigma(time))
                x[now] = draws.categorical(log_score[:, : graph.codebook_size].exp(), now)
            on_step(step + 1, self.steps)
        return x


if __name__ == "__main__":
    sys.excepthook = md.excepthook  # a wrong path is told in a line
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    checkpoint, out = (*sys.argv[1:], "left_to_right.wav")[:2]
    model = md.load(checkpoint)
    audio = model.generate(seconds=2, sampler=LeftToRight(steps=32), seed=1)
    files.write(out, audio[0].cpu(), model.sample_rate)
    print(f"{audio.shape[-1] / model.sample_rate:.2f} s in {out}")
