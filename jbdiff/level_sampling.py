"""Sample windows of one level."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jbdiff.unet import UNet
from jbdiff.vdiffusion import SAMPLERS, OnStep, alpha_sigma, falling_times, guided

if TYPE_CHECKING:
    from jbdiff.module import JBDiff


def generate(
    net: UNet,
    noise: Tensor,
    context: Tensor,
    steps: int,
    guidance: float,
    guidance_rescale: float,
    sampler: str,
    init: Tensor | None,
    strength: float,
    on_step: OnStep,
) -> Tensor:
    """Sample latents [B, D, L] from noise [B, D, L] after a context [B, D, M].

    With `init` [B, D, L] sampling starts where that share `strength` of the steps is past, from the
    initial latents noised to that time; at strength 1 they come back as they are.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"the sampler must be {' or '.join(SAMPLERS)}, got {sampler!r}")
    times = falling_times(steps, 0.0 if init is None else strength, noise.device)
    if not len(times):
        return init
    x = noise
    if init is not None:
        alpha, sigma = alpha_sigma(times[0])
        x = alpha * init + sigma * noise
    v_fn = guided(net, context.transpose(1, 2), guidance, guidance_rescale)
    return SAMPLERS[sampler](v_fn, x, times, on_step=on_step)


def continue_song(
    module: "JBDiff", latents: dict[str, Tensor], windows: int, generator: torch.Generator
) -> Tensor:
    """Sample windows [B, D, L] one after another after the context, for a demo."""
    context, made = latents["context"], []
    for _ in range(windows):
        noise = torch.randn(latents["target"].shape, generator=generator, device=context.device)
        hparams = module.hparams
        made.append(
            module.generate(
                latents.get("lower", noise),
                context,
                steps=hparams.demo_steps,
                guidance=hparams.demo_guidance,
                sampler=hparams.demo_sampler,
            )
        )
        context = torch.cat([context, made[-1]], dim=-1)[..., -context.shape[-1] :]
    return torch.cat(made, dim=-1)
