"""The contract of a network that predicts velocities, of latents or of audio."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from foundation.batch import Cond
from foundation.conditioner import ConditionalNet
from foundation.errors import UserError


class VelocityNet(ConditionalNet, ABC):
    """Predicts the velocity v = alpha eps - sigma x of noised signals [B, D, L].

    A level of Jukebox Diffusion makes it as `net(context_length, dropout)` and gives it a context,
    Dance Diffusion makes it as `net()` and gives none.

    Attributes:
        channels: D, of the signal; Dance Diffusion asks for it
        multiple: L is a multiple of this
        min_length: L is at least this
    """

    channels: int
    multiple: int = 1
    min_length: int = 1

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, context: object = None) -> Tensor:
        """Predict v [B, D, L] of noised signals x [B, D, L] at times t [B].

        `context` is what `prepare` returned. A network with a `modulation_size` takes a fourth
        argument: None, or what is added to its modulation [B, modulation_size].
        """

    def prepare(self, context: Tensor) -> object:
        """Compute once what depends on the context [B, E, M] alone, for many calls of `forward`."""
        return context

    def null_context(self, context: Tensor) -> Tensor:
        """Return what stands for no context, of the shape of a context [B, E, M]: zeros."""
        return torch.zeros_like(context)

    def check_length(self, length: int) -> None:
        """Raise UserError for a length that the network can't take."""
        if length % self.multiple or length < self.min_length:
            raise UserError(
                f"{type(self).__name__} takes a multiple of {self.multiple} positions, at least "
                f"{self.min_length}, got {length}"
            )


def velocity(
    net: VelocityNet, x: Tensor, t: Tensor, context: Tensor, cond: Cond | None = None
) -> Tensor:
    """Predict v [B, D, L] in float32, with a context [B, E, M] and metadata that are used once."""
    return predict(net, x, t, prepare(net, context), net.told_by(cond, len(x)))


def prepare(net: VelocityNet, context: Tensor) -> object:
    """Prepare a context [B, E, M] in the precision of the network's weights."""
    return net.prepare(context.to(next(net.parameters(), context).dtype))


def predict(
    net: VelocityNet, x: Tensor, t: Tensor, prepared: object, told: Tensor | None = None
) -> Tensor:
    """Predict v [B, D, L] in float32; the network computes in the precision of its weights."""
    dtype = next(net.parameters(), x).dtype
    more = () if told is None else (told,)
    return net(x.to(dtype), t.to(dtype), prepared, *more).float()


def drop_context(
    net: VelocityNet,
    context: Tensor,
    probability: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace the contexts [B, E, M] of some examples by the null context."""
    draws = torch.rand(len(context), 1, 1, generator=generator, device=context.device)
    return torch.where(draws < probability, net.null_context(context), context)


def shorten_context(
    net: VelocityNet,
    context: Tensor,
    probability: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace the beginning of some examples' contexts [B, E, M] by the null context's.

    How much is drawn evenly: a prompt may be shorter than the context is.
    """
    device = context.device
    chosen, share = torch.rand(2, len(context), 1, 1, generator=generator, device=device)
    places = torch.arange(context.shape[-1], device=device)
    missing = (chosen < probability) & (places < share * context.shape[-1])
    return torch.where(missing, net.null_context(context), context)
