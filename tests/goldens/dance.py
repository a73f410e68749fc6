"""Check Dance Diffusion against the golden `dance_diffusion`."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_sampling import sine_time, sine_times
from jbdiff.published import published_dance
from jbdiff.samplers import DDIM, IPLMS, LatentSampler, sample_from
from jbdiff.vdiffusion import alpha_sigma
from tests.goldens.files import through_file
from tests.goldens.format import Case, Golden

Rows = Iterator[tuple[str, str, float]]


@torch.no_grad()
def check(golden: Golden) -> Rows:
    for case in golden.cases.values():
        if "depth" in case.manifest["config"]:
            yield from check_network(case)
        elif "noise_level" in case.manifest["config"]:
            yield from check_resample(case)
        else:
            yield from check_schedule(case)


def check_network(case: Case) -> Rows:
    """Check the network; of the published size, its weights go through a published layout."""
    c = case.config
    net = case.fill(DiffusionAttnUnet1D(c["depth"], c["n_attn"], c["c_mults"])).eval()
    if c.get("default"):
        state = {f"diffusion.{name}": torch.zeros(()) for name in net.state_dict()}
        state |= {f"diffusion_ema.{name}": value for name, value in net.state_dict().items()}
        load = partial(published_dance, sample_rate=44100)
        content = {"epoch": 0, "state_dict": state}
        net = through_file(content, lambda path: load(Path(path))).diffusion
    yield case.name, "v", case.compare("v", net(case.input("x"), case.input("t")))


def check_schedule(case: Case) -> Rows:
    t = case.input("t")
    alpha, sigma = alpha_sigma(t)
    for name, value in (("crash", sine_time(t)), ("alpha", alpha), ("sigma", sigma)):
        yield case.name, name, case.compare(name, value)


def check_resample(case: Case) -> Rows:
    """Refine with the toy network of the reference, and note the times it is called at."""
    c = case.config
    if c["eta"]:
        raise ValueError(f"{case.name}: no rule says which noise eta {c['eta']} drew")
    factor = float(re.search(r"([\d.]+) \* x \* t", case.outputs["out"]["note"])[1])
    seen: list[Tensor] = []

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t[:1])
        return factor * x * t[:, None, None]

    def run(sampler: LatentSampler) -> Tensor:
        audio, noise = case.input("audio"), case.input("noise")
        return sample_from(v_fn, noise, sampler, sine_times, audio, strength)

    strength = 1 - c["noise_level"]
    times = sine_times(c["steps"], strength).flip(0)
    results = {"step_list": torch.cat([times.new_zeros(1), times]), "out": run(DDIM(c["steps"]))}
    results["t_seen_by_model"] = torch.cat(seen)
    results["out_iplms"] = run(IPLMS(c["steps"]))
    for name, value in results.items():
        yield case.name, name, case.compare(name, value)
