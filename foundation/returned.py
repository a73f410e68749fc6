"""What classes return, which may be a user's own: wrong shapes are told with the class's name."""

from collections.abc import Sequence

from torch import Tensor

from foundation.errors import UserError
from foundation.packages import PACKAGES


class WrongReturnError(ValueError):
    """A method returned something else than its contract says: an error in code."""


def is_own(part: object) -> bool:
    """Say whether a part's class is the user's own, not one of this project."""
    return part is not None and type(part).__module__.split(".")[0] not in PACKAGES


def shape_of(made: object) -> list[int] | str:
    """Return a tensor's shape; of what is none, its class's name."""
    return list(made.shape) if isinstance(made, Tensor) else type(made).__name__


def check_returned(owner: object, method: str, made: object, shape: Sequence[int]) -> None:
    """Raise WrongReturnError unless a method of a class returned a tensor of this shape.

    It is an error in code, so that it keeps its traceback.
    """
    got = shape_of(made)
    if got != list(shape):
        raise WrongReturnError(
            f"{type(owner).__name__}.{method} must return a tensor {list(shape)}, got {got}"
        )


def check_losses(owner: object, losses: object, times: Tensor) -> None:
    """Raise UserError unless an objective returned a loss for each of the times [B]."""
    got = shape_of(losses)
    if got != list(times.shape):
        raise UserError(
            f"{type(owner).__name__}.losses must return a loss of each example "
            f"{list(times.shape)}, got {got} (docs/extending.md)"
        )
