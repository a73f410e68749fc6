"""What a step of the reverse process draws from: unnormalised weights of each state, in float64."""

import math

import torch
from torch import Tensor

from sedd.graph import Graph


def euler_probs(graph: Graph, x: Tensor, log_score: Tensor, amount: Tensor) -> Tensor:
    """Weights [P, V] of an Euler step from x [P]; amount = step size times the noise rate."""
    rates = graph.reverse_rate(x, log_score.exp())
    return torch.zeros_like(rates).scatter(-1, x[..., None], 1) + amount * rates


def analytic_probs(graph: Graph, x: Tensor, log_score: Tensor, dsigma: Tensor) -> Tensor:
    """Weights [P, V] of a Tweedie step from x [P] over dsigma [P] (Lou et al. 2024, eq. 19)."""
    return graph.staggered_score(log_score.exp(), dsigma) * graph.transp_transition(x, dsigma)


def denoise_probs(graph: Graph, x: Tensor, log_score: Tensor, sigma: Tensor) -> Tensor:
    """Weights [P, V] of the clean tokens: the last Tweedie step, without the mask."""
    return analytic_probs(graph, x, log_score, sigma)[..., : graph.codebook_size]


def warp(log_score: Tensor, x: Tensor, temperature: float, top_p: float) -> Tensor:
    """Sharpen where x [P] jumps to, and leave alone how often it jumps: log scores [P, V]."""
    if temperature == 1 and top_p == 1:
        return log_score
    others = log_score.double().scatter(-1, x[..., None], -math.inf)
    total = others.logsumexp(-1, keepdim=True)
    probs = torch.softmax(others / temperature, -1)
    if top_p < 1:
        ordered, places = probs.sort(-1, descending=True)
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= top_p, 0)
        probs = torch.zeros_like(probs).scatter(-1, places, ordered)
        probs = probs / probs.sum(-1, keepdim=True)
    own = log_score.double().gather(-1, x[..., None])
    return (probs.log() + total).scatter(-1, x[..., None], own)
