"""Models from files: a checkpoint of fit, what export wrote, or published weights."""

import sys
from argparse import ArgumentError
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule

from foundation.audio_module import AudioModel
from foundation.downloads import no_downloads
from foundation.errors import MissingFileError, UserError
from foundation.settings import CONFIG, read_config
from foundation.weights import check_state, load_strictly, read_content, read_state
from jbdiff.published import published_dance
from music_diffusion.checkpoints.legacy import upgrade_settings
from music_diffusion.checkpoints.named_classes import import_named
from music_diffusion.commands.error_lines import user_error
from music_diffusion.commands.runs import NO_CHECKPOINT, find_checkpoint
from music_diffusion.provenance import KEY

Settings = TypeVar("Settings", dict, Namespace)


def load_model(
    path: str | Path, accelerator: str = "auto", sample_rate: int | None = None
) -> AudioModel:
    """Load a model for sampling, on the accelerator's first device and in evaluation mode.

    Args:
        path: a checkpoint of fit, whose averaged weights are used, `last` or `best` of the newest
            run, a folder that export wrote, or a published file of Dance Diffusion
        accelerator: auto, cpu, gpu or another of Lightning's
        sample_rate: of a published file, which doesn't hold it, in Hz

    Raises:
        UserError: for a file that isn't a model, doesn't fit its settings or its codec, or names a
            class that is neither this project's nor the user's
    """
    path = Path(find_checkpoint(str(path)))
    device = device_of(accelerator)
    content = read_model(path)
    if "_class_path" not in content.get("hyper_parameters", {}):
        model = load_published(path, sample_rate)
    else:
        model = rebuild(content, path)
        if not isinstance(model, AudioModel):
            raise UserError(f"{path} is of {type(model).__name__}, which generates no audio")
        if sample_rate not in (None, model.sample_rate):
            raise UserError(f"{path} is of {model.sample_rate} Hz, not {sample_rate}")
    model.provenance = content.get(KEY)
    return model.to(device).eval()


def device_of(accelerator: str) -> torch.device:
    """Return the first device of one of Lightning's accelerators."""
    try:
        return Fabric(accelerator=accelerator, devices=1).device
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise UserError(f"accelerator {accelerator}: {error}") from error


def read_model(path: Path) -> dict:
    """Read a checkpoint, an export or other weights; float16 becomes float32."""
    if not path.exists():
        raise MissingFileError(NO_CHECKPOINT.format(path))
    if not path.is_dir():
        return read_content(path)
    if not (path / CONFIG).is_file():
        found = sorted(path.glob("*.ckpt")) or sorted(path.glob("checkpoints/*.ckpt"))
        hint = f"; give one of its checkpoints, such as {found[-1]}" if found else ""
        raise MissingFileError(f"{path} is no exported model: it has no {CONFIG}{hint}")
    state = read_state(path)
    halves = {name: value for name, value in state.items() if value.dtype == torch.float16}
    state |= {name: value.float() for name, value in halves.items()}
    return read_config(path) | {"state_dict": state}


def rebuild(content: dict, source: str | Path) -> LightningModule:
    """Build the model that a checkpoint's settings describe, with its weights."""
    check_state(content.get("state_dict"), source)
    settings = upgrade_settings(content["hyper_parameters"])
    settings.pop("_instantiator", None)
    import_named(settings, source)
    try:
        with no_downloads():
            model = build(settings)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, ArgumentError) as error:
        reason = user_error(error) or error
        raise UserError(f"{source} doesn't fit the settings it holds: {reason}") from error
    model.on_load_checkpoint(content)
    load_strictly(model, content["state_dict"], f"{source} doesn't fit the settings it holds")
    return model


def load_published(path: Path, sample_rate: int | None) -> AudioModel:
    """Build Dance Diffusion from a published file, which holds weights and no settings."""
    if sample_rate is None:
        raise UserError(
            f"{path} holds weights and no settings: sample takes a checkpoint of fit or the folder "
            "that export wrote, or, with --sample_rate, a published file of Dance Diffusion (48000 "
            "for glitch and jmann, 16000 for maestro, unlocked and honk, 44100 for Jukebox "
            "Diffusion's)"
        )
    return published_dance(path, sample_rate)


def build(settings: Mapping) -> LightningModule:
    """Make the model of settings from a file, as the command line makes one of the user's.

    Texts are values alone: none is read as YAML, or as the path or URL of a config.
    """
    module, _, name = settings["_class_path"].rpartition(".")
    kind = getattr(sys.modules.get(module), name, None)
    if not (isinstance(kind, type) and issubclass(kind, LightningModule)):
        raise ValueError(f"{settings['_class_path']!r} is no model")
    options = {key: value for key, value in settings.items() if key != "_class_path"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "model", fail_untyped=False)
    parsed = parser.parse_object({"model": map_texts(options, Text)})
    return parser.instantiate(map_texts(parsed, str)).model


class Text(str):
    """A text that jsonargparse takes as it is: it reads `str` alone as a path or as YAML."""


def map_texts(settings: Settings, kind: type[str]) -> Settings:
    """Copy nested settings with every text as one of this kind."""

    def copy(value: object) -> object:
        if isinstance(value, (dict, Namespace)):
            made = Namespace() if isinstance(value, Namespace) else {}
            for name, part in value.items():
                made[name] = copy(part)
            return made
        if isinstance(value, (list, tuple)):
            return type(value)(copy(part) for part in value)
        return kind(value) if isinstance(value, str) else value

    made = copy(settings)
    assert isinstance(made, type(settings))
    return made
