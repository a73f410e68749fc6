"""torch.compile where it pays; where it fails, one line says so and nothing else is lost."""

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch

log = logging.getLogger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")


class Compiled(Generic[Given, Result]):
    """A function as one graph for each shape of its arguments, or as it is where none can be made.

    Its parts mustn't ask the device for a number, which would break the graph in two.
    """

    def __init__(self, function: Callable[Given, Result], name: str):
        self.function, self.name = function, name
        self.fast: Callable[Given, Result] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Result:
        if self.fast is None:
            return self.function(*args, **kwargs)
        from torch._dynamo.exc import TorchDynamoException  # a second to import, only here needed

        try:
            return self.fast(*args, **kwargs)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            log.warning(
                "%s isn't compiled (%s: %s): it runs as it is, slower; --model.compile false asks "
                "for that", self.name, type(error).__name__, reason,
            )  # fmt: skip
            self.fast = None
            return self.function(*args, **kwargs)
