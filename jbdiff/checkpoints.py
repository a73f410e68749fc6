"""Weights of level models and of Dance Diffusion, from our own files and from published ones."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.jukebox import JukeboxCodec
from foundation.codec import Codec
from foundation.errors import UserError
from foundation.settings import settings_of
from foundation.weights import load_strictly, read_state, under

log = logging.getLogger(__name__)
CODEC = "vqvae."
ALIASES = ("diffusion.net.", "sampler.net.")  # the same weights under other names
NAMES = (
    ("blocks.0.", "time."),
    ("blocks.1.blocks.0.", "mlp."),
    ("blocks.2.blocks.0.blocks.0.", "null."),
    ("blocks.2.blocks.1.", "net."),
)
TWICE = "blocks.1.blocks.1."  # the time layer that is applied a second time
AVERAGE, OURS = "diffusion_ema.", "diffusion."  # of Dance; ours holds the average as its own


def published_unet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published level checkpoint's `state_dict` to our UNet's names.

    Lightning's prefix is cut off; the codec's weights and those named a second and third
    time are left out.
    """
    if any(key.startswith("diffusion.diffusion.net.") for key in state):
        state = {key.removeprefix("diffusion."): value for key, value in state.items()}
    renamed = {}
    for key, value in state.items():
        if key.startswith((CODEC, *ALIASES)):
            continue
        name = key.removeprefix("net.")
        if name.startswith(TWICE):
            continue
        for theirs, ours in NAMES:
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
                break
        renamed[name] = value
    return renamed


def load_unet(net: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load our own or a published state dict, strictly; UserError names what does not fit."""
    ours = net.state_dict().keys()
    if state.keys() & {f"net.{key}" for key in ours}:  # all of a JBDiff
        state = {key.removeprefix("net."): value for key, value in state.items()}
    elif not state.keys() & ours:
        state = published_unet(state)
    load_strictly(net, state, f"{source} is no checkpoint of this network")


def load_level(net: nn.Module, codec: Codec, level: int, path: str) -> None:
    """Load a level's weights from a checkpoint, an export or a published file, strictly.

    Raises:
        UserError: for another level's, and names what doesn't fit
    """
    theirs = settings_of(path).get("jb_level", level)
    if theirs != level:
        raise UserError(f"{path} is of level {theirs}: give one of level {level}")
    state = read_state(path)
    load_unet(net, state, path)
    if isinstance(codec, JukeboxCodec) and holds_other_codec(state, codec.vqvae):
        log.warning("%s was trained on the codec that it holds: add codec_path %s", path, path)


def holds_other_codec(state: dict[str, Tensor], vqvae: nn.Module) -> bool:
    """Say whether a published level's file holds another codec than this one."""
    ours = vqvae.state_dict()
    theirs = under(state, CODEC).items()
    return any(name in ours and not torch.equal(ours[name], value) for name, value in theirs)


def dance_state(path: str | Path) -> dict[str, Tensor]:
    """Read the weights of a Dance Diffusion network, averaged ones where there are any."""
    state = read_state(path)
    return under(state, AVERAGE) or under(state, OURS) or state


def load_dance(net: nn.Module, path: str | Path) -> None:
    """Load a file of Dance Diffusion's weights, strictly; UserError names what does not fit."""
    load_strictly(net, dance_state(path), f"{path} is no checkpoint of this network")
