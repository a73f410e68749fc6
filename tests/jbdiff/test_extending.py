"""The velocity network and the objective of docs/extending.md, as they stand there."""

import re
from pathlib import Path

import torch

from jbdiff.module import JBDiff

DOCS = Path(__file__).parents[2] / "docs/extending.md"
IMPORTS = """
from dataclasses import dataclass
import torch
from torch import Tensor, nn
from jbdiff.objective import LatentObjective
from jbdiff.vdiffusion import VFn, alpha_sigma
from jbdiff.velocity_net import VelocityNet
"""


def test_the_documented_network_and_objective_train_and_sample():
    section = DOCS.read_text().split("## A velocity network")[1].split("\n## ")[0]
    written: dict = {}
    exec(IMPORTS + "\n".join(re.findall(r"```python\n(.*?)```", section, re.S)), written)
    torch.manual_seed(0)
    model = JBDiff(
        jb_level=3, net=written["Mixing"], objective=written["AbsoluteV"](), base_tokens=4
    )
    latents = torch.randn(2, 128, 4)
    batch = {"latents": latents, "context": torch.randn(2, 128, 4)}
    losses = model.losses(batch, torch.tensor([0.2, 0.9]))
    assert losses.shape == (2,)
    losses.sum().backward()
    assert all(weight.grad is not None for weight in model.net.parameters())
    made = model.sample_latents(latents, batch["context"])
    assert made.shape == latents.shape and made.isfinite().all()
