"""Models around published checkpoints, which hold weights and no settings."""

from functools import partial
from pathlib import Path

import torch

from jbdiff.checkpoints import dance_state
from jbdiff.dance import CHANNELS, DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.module import JBDiff


def published_level(path: Path, level: int, codec_path: str | None = None) -> JBDiff:
    """Build a level of Jukebox Diffusion v1 around its file, which holds its codec as well.

    `codec_path` is for a file from which the codec was taken out. Raises ValueError for what
    does not fit.
    """
    return JBDiff(level, codec_path or str(path), init_from=str(path))


def published_dance(path: Path, sample_rate: int) -> Dance:
    """Build Dance Diffusion around a published file, with attention where the file has it."""
    names = dance_state(path).keys()
    for attentions in range(len(CHANNELS)):
        net = partial(DiffusionAttnUnet1D, n_attn_layers=attentions)
        with torch.device("meta"):
            fits = net().state_dict().keys() == names
        if fits:
            return Dance(net, sample_rate=sample_rate, init_from=str(path))
    return Dance(sample_rate=sample_rate, init_from=str(path))  # says what does not fit
