"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) by a context."""

import torch
from torch import Tensor

from jbdiff.vdiffusion import VFn
from jbdiff.velocity_net import VelocityNet, predict, prepare


def guided(net: VelocityNet, context: Tensor, scale: float, rescale: float = 0.0) -> VFn:
    """Return a v_fn guided by a context [B, E, M], with one network call of batch 2 B a step.

    `rescale` pulls the guided prediction's deviation back to the plain one's (Lin et al. 2023,
    arXiv:2305.08891, eq. 15 and 16). Scale 1 is the plain prediction, of batch B.
    """
    if scale == 1:
        prepared = prepare(net, context)
        return lambda x, t: predict(net, x, t, prepared)
    both = prepare(net, torch.cat([context, net.null_context(context)]))

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        plain, null = predict(net, torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        v = null + scale * (plain - null)
        if rescale:
            matched = v * plain.std(dim=(1, 2), keepdim=True) / v.std(dim=(1, 2), keepdim=True)
            v = v.lerp(matched, rescale)
        return v

    return v_fn
