"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) by a context and conditions."""

import torch
from torch import Tensor

from foundation.batch import Cond
from jbdiff.vdiffusion import VFn
from jbdiff.velocity_net import VelocityNet, predict, prepare


def guided(
    net: VelocityNet,
    context: Tensor,
    scale: float,
    rescale: float = 0.0,
    cond: Cond | None = None,
    cond_scale: float = 1.0,
) -> VFn:
    """Return a v_fn guided by a context [B, E, M] and by metadata of the B examples.

    Each scale says how far to go from the prediction without the one to that with both; 1 is the
    plain prediction, of batch B, and every other scale adds B to the batch of the one network call
    a step (after Brooks et al. 2023, arXiv:2211.09800, eq. 3). `cond_scale` 0 is that without
    conditions. `rescale` pulls the guided prediction's deviation back to the plain one's (Lin et
    al. 2023, arXiv:2305.08891, eq. 15 and 16).
    """
    cond, cond_scale = (cond, cond_scale) if cond and cond_scale else (None, 1.0)
    contexts, conds = [context], [cond]
    if scale != 1:
        contexts, conds = [context, net.null_context(context)], [cond, cond]
    if cond_scale != 1:
        contexts, conds = [*contexts, context], [*conds, None]
    prepared = prepare(net, torch.cat(contexts))
    told = modulations(net, conds, len(context))
    if len(contexts) == 1:
        return lambda x, t: predict(net, x, t, prepared, told)

    def v_fn(x: Tensor, t: Tensor) -> Tensor:
        copies = len(contexts)
        parts = predict(net, torch.cat([x] * copies), torch.cat([t] * copies), prepared, told)
        plain, *others = parts.chunk(copies)
        v = plain if scale == 1 else others[0] + scale * (plain - others[0])
        if cond_scale != 1:
            v = v + (cond_scale - 1) * (plain - others[-1])
        if rescale:
            matched = v * plain.std(dim=(1, 2), keepdim=True) / v.std(dim=(1, 2), keepdim=True)
            v = v.lerp(matched, rescale)
        return v

    return v_fn


def modulations(net: VelocityNet, conds: list[Cond | None], count: int) -> Tensor | None:
    """Embed metadata of `count` examples each, one after another; None for a network without."""
    parts = [net.told_by(cond, count) for cond in conds]
    told = [part for part in parts if part is not None]
    return torch.cat(told) if told else None
