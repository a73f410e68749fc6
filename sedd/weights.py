"""Load the score network's weights from our own files and from SEDD's published ones."""

from pathlib import Path

from torch import Tensor, nn

from codec.base import mismatch
from codec.weights import read_content, unwrap


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Load a network's weights, averaged ones where there are any; strictly.

    The file is a checkpoint or an export of ours, a `checkpoint.pth` of SEDD's repository, or a
    `pytorch_model.bin` of its hub pages. The tokens' codec isn't compared: it may be a new one.
    """
    content = read_content(path)
    state = unwrap(content, path)
    if any(name.startswith("net.") for name in state):
        state = {n.removeprefix("net."): v for n, v in state.items() if n.startswith("net.")}
    if problem := mismatch(net.state_dict(), state):
        raise ValueError(f"{path} does not hold this score network: {problem}")
    if "ema" in content:
        state = state | averaged(net, content["ema"], path)
    net.load_state_dict(state)


def averaged(net: nn.Module, ema: dict, path: str | Path) -> dict[str, Tensor]:
    """Name the averaged weights, which the repository lists in the order of the parameters."""
    listed = ema.get("shadow_params", [])
    wanted = {name: value for name, value in net.named_parameters() if value.requires_grad}
    state = dict(zip(wanted, listed, strict=False))
    if len(listed) != len(wanted) or mismatch(wanted, state):
        raise ValueError(
            f"{path} holds {len(listed)} averaged weights that do not fit the network's "
            f"{len(wanted)}"
        )
    return state
