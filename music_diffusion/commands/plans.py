"""Ways to train that come with the project, and what they cost on a machine.

A step's cost was measured on one core in float32, as its seconds times what that core does in
products of matrices (75 GFLOP/s), so that slower operations count as well. Memory is 16 bytes a
weight and the activations of a batch. An accelerator in bfloat16 takes less of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from music_diffusion.commands.machine import Machine

BYTES = 16  # a weight's: the weight, its gradient, its average and two moments, less what is shared
PROGRAM = 0.8e9  # bytes that Python, torch and Lightning take
LITTLE = 10.0  # hours of music, below which overfitting has to be held off


@dataclass(frozen=True)
class Plan:
    """Configs, and what a step with them costs.

    Attributes:
        configs: their names, in order
        window: seconds of music in an example
        batch: windows in a batch
        accumulate: batches in a step
        steps: how many the config asks for
        weights: that are trained
        gflop: of a step
        activations: bytes of a batch's
        options: that go with the configs
        limit: an option that ends it early, where that is enough
    """

    configs: tuple[str, ...]
    window: float
    batch: int
    accumulate: int
    steps: int
    weights: int
    gflop: float
    activations: float
    options: tuple[str, ...] = ()
    limit: str = ""

    @property
    def name(self) -> str:
        return " + ".join(self.configs)

    @property
    def memory(self) -> float:
        """Bytes that training takes."""
        return PROGRAM + BYTES * self.weights + self.activations

    def windows(self, tracks: Sequence[float]) -> int:
        """Count the windows an epoch draws from tracks of so many seconds."""
        return sum(max(1, -int(-seconds // self.window)) for seconds in tracks)

    def steps_an_epoch(self, tracks: Sequence[float]) -> float:
        """Return how many steps go through tracks of so many seconds once."""
        return self.windows(tracks) / self.batch / self.accumulate

    def step_seconds(self, machine: Machine) -> float:
        return self.gflop / machine.gflops

    def command(self, music: str, hours: float) -> str:
        """Return the options of fit for this plan, with an overlay where there is little music."""
        few = ("small_data",) if "sedd_absorb" in self.configs and hours < LITTLE else ()
        configs = " ".join(f"--config {name}" for name in self.configs + few)
        return " ".join((configs, *self.options, "--data.audio", music, self.limit)).strip()


LEVEL_3 = Plan(
    ("jbdiff", "level3_small"),
    window=8.92,
    batch=8,
    accumulate=1,
    steps=5000,
    weights=5_351_168,
    gflop=89,
    activations=0.25e9,
    options=("--model.init_from base", "--model.learning_rate 3e-4"),
    limit="--trainer.max_time 00:00:30:00",
)
TINY = Plan(("sedd_absorb", "tiny"), 8.36, 6, 1, 5000, 7_478_788, 51, 0.2e9)
SEDD = Plan(("sedd_absorb",), 47.55, 8, 16, 1_300_001, 104_984_072, 107_000, 10e9)
LEVEL_2 = Plan(
    ("jbdiff",), 2.23, 32, 4, 1_000_000, 127_903_168, 49_000, 8e9, ("--model.jb_level 2",)
)
PLANS = (LEVEL_3, TINY, SEDD, LEVEL_2)


def choose(machine: Machine) -> Plan:
    """Return the plan to start with: on a laptop the base model, fine-tuned."""
    return LEVEL_3 if machine.is_laptop else SEDD
