"""What classes return, which may be a user's own: wrong shapes are told with the class's name."""

from collections.abc import Sequence

from torch import Tensor


def check_returned(owner: object, method: str, made: object, shape: Sequence[int]) -> None:
    """Raise ValueError unless a method of a class returned a tensor of this shape.

    It is an error in code, so that it keeps its traceback.
    """
    got = list(made.shape) if isinstance(made, Tensor) else type(made).__name__
    if got != list(shape):
        raise ValueError(
            f"{type(owner).__name__}.{method} must return a tensor {list(shape)}, got {got}"
        )
