"""Load the score network's weights from our own files and from SEDD's published ones."""

import logging
from pathlib import Path

from torch import Tensor, nn

from foundation.errors import UserError
from foundation.weights import load_strictly, mismatch, read_content, under, unwrap

log = logging.getLogger(__name__)
TOKENS = ("vocab_embed.embedding", "output_layer.linear.weight", "output_layer.linear.bias")


def load_weights(net: nn.Module, path: str | Path) -> None:
    """Load a network's weights, averaged ones where there are any; strictly.

    The file is a checkpoint or an export of ours, a `checkpoint.pth` of SEDD's repository, or a
    `pytorch_model.bin` of its hub pages. The tokens' codec isn't compared, it may be another. From
    a file of another vocabulary, such as text, all is taken but what belongs to single tokens.
    """
    content = read_content(path)
    state = unwrap(content, path)
    state = under(state, "net.") or state
    ours = net.state_dict()
    own = ours_of_tokens(ours, state)
    load_strictly(net, state | own, f"{path} does not hold this score network")
    if "ema" in content:
        net.load_state_dict(state | averaged(net, state, content["ema"], path) | own)
    if own:
        log.warning(
            "%s is of a vocabulary of %d, this model of %d: the embedding and the output layer "
            "are left as they were initialised", path, len(state[TOKENS[0]]), len(ours[TOKENS[0]]),
        )  # fmt: skip


def ours_of_tokens(ours: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our own weights of each token where the file differs in the number of tokens alone."""
    rows = {n: state[n].shape for n in TOKENS if n in state}
    widths = all(shape[1:] == ours[name].shape[1:] for name, shape in rows.items())
    sizes = {shape[0] for shape in rows.values() if shape}
    if len(rows) < len(TOKENS) or not widths or len(sizes) > 1 or len(ours[TOKENS[0]]) in sizes:
        return {}
    return {name: ours[name] for name in TOKENS}


def averaged(
    net: nn.Module, state: dict[str, Tensor], ema: dict, path: str | Path
) -> dict[str, Tensor]:
    """Name the averaged weights, which the repository lists in the order of the parameters."""
    listed = ema.get("shadow_params", [])
    wanted = {n: state[n] for n, value in net.named_parameters() if value.requires_grad}
    named = dict(zip(wanted, listed, strict=False))
    if len(listed) != len(wanted) or mismatch(wanted, named):
        raise UserError(
            f"{path} holds {len(listed)} averaged weights that do not fit the network's "
            f"{len(wanted)}"
        )
    return named
