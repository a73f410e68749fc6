"""Models from published checkpoints, which hold weights and no settings."""

from functools import partial
from pathlib import Path

import torch

from foundation.audio_module import AudioModel
from foundation.errors import UserError
from foundation.files import user_path
from foundation.settings import holds_settings
from jbdiff.checkpoints import dance_state
from jbdiff.dance import CHANNELS, DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.module import JBDiff
from jbdiff.song_files import existing_file
from jbdiff.song_settings import Song

SAMPLE_RATE = 44100  # of the Dance Diffusion that is published with Jukebox Diffusion


def published_level(path: Path, level: int, codec_path: str | None = None) -> JBDiff:
    """Build a level of Jukebox Diffusion v1 from its file, which holds its codec as well.

    `codec_path` is for a file from which the codec was removed.

    Raises:
        UserError: for a file that holds something else
    """
    return JBDiff(level, codec_path or str(path), init_from=str(path)).eval()


def published_dance(path: Path, sample_rate: int) -> Dance:
    """Build Dance Diffusion from a published file, with attention where the file has it.

    Raises:
        UserError: for a file that holds something else
    """
    names = dance_state(path).keys()
    for attentions in range(len(CHANNELS)):
        net = partial(DiffusionAttnUnet1D, n_attn_layers=attentions)
        with torch.device("meta"):
            fits = net().state_dict().keys() == names
        if fits:
            return Dance(net, sample_rate=sample_rate, init_from=str(path)).eval()
    return Dance(sample_rate=sample_rate, init_from=str(path)).eval()  # says what doesn't fit


def published_models(song: Song) -> dict[str, AudioModel]:
    """Build the models of those of a song's checkpoints that are published files, by name.

    Raises:
        MissingFileError: for a checkpoint or music file that isn't there
        UserError: for a file that can't be read as a model, and for a `codec_path` that no level
            uses, because the others name their codec themselves
    """
    for name, file in song.files.items():
        existing_file(name, file)
    models: dict[str, AudioModel] = {}
    for name, checkpoint in song.checkpoints.items():
        path = user_path(checkpoint, f"{name}.checkpoint")
        try:
            if holds_settings(path):
                continue
            if name == "dance":
                models[name] = published_dance(path, SAMPLE_RATE)
            else:
                models[name] = published_level(path, int(name[-1]), song.codec_path)
        except UserError as error:
            raise UserError(f"{name}.checkpoint: {error}") from error
    if song.codec_path and not set(models) - {"dance"}:
        raise UserError(
            "codec_path is for published checkpoints, and none of the levels' is one: leave "
            "it out, these name their codec themselves"
        )
    return models
