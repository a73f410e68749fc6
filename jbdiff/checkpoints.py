"""Published checkpoints of Jukebox Diffusion: their names in ours."""

from torch import Tensor, nn

from codec.base import mismatch

ALIASES = ("diffusion.net.", "sampler.net.")  # the same weights under other names
NAMES = (
    ("blocks.0.", "time."),
    ("blocks.1.blocks.0.", "mlp."),
    ("blocks.2.blocks.0.blocks.0.", "null."),
    ("blocks.2.blocks.1.", "net."),
)
TWICE = "blocks.1.blocks.1."  # the time layer that is applied a second time


def published_unet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published level checkpoint's `state_dict` to our UNet's names.

    Lightning's prefix is cut off; the codec's weights and those named a second and third
    time are left out.
    """
    if any(key.startswith("diffusion.diffusion.net.") for key in state):
        state = {key.removeprefix("diffusion."): value for key, value in state.items()}
    renamed = {}
    for key, value in state.items():
        if key.startswith(("vqvae.", *ALIASES)):
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
    """Load our own or a published state dict into a UNet; ValueError names what does not fit."""
    if not any(key.startswith("time.") for key in state):
        state = published_unet(state)
    if problem := mismatch(net.state_dict(), state):
        raise ValueError(f"{source} is no checkpoint of this U-Net: {problem}")
    net.load_state_dict(state)
