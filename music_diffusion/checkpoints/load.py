"""Models from files: a checkpoint of fit, what export wrote, or published weights."""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import instantiate_module

from foundation.audio_module import AudioModel
from foundation.errors import MissingFileError, UserError
from foundation.settings import CONFIG, read_config
from foundation.weights import mismatch, read_content, read_state
from jbdiff.published import published_dance
from music_diffusion.checkpoints.legacy import upgrade_settings
from music_diffusion.commands.error_lines import user_error
from music_diffusion.commands.runs import find_checkpoint
from music_diffusion.provenance import KEY

OURS = ("codec", "sedd", "jbdiff", "foundation", "audio", "datamodules", "callbacks", "metrics")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


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
            class that is neither this project's, nor imported, nor in the current folder
    """
    path = Path(find_checkpoint(str(path))).expanduser()
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
        raise MissingFileError(f"no checkpoint at {path}")
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
    settings = upgrade_settings(content["hyper_parameters"])
    settings.pop("_instantiator", None)
    import_named(settings, source)
    try:
        model = instantiate_module(LightningModule, settings)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        reason = user_error(error) or error
        raise UserError(f"{source} doesn't fit the settings it holds: {reason}") from error
    model.on_load_checkpoint(content)
    if problem := mismatch(model.state_dict(), content["state_dict"]):
        raise UserError(f"{source} doesn't fit the settings it holds: {problem}")
    model.load_state_dict(content["state_dict"])
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


def import_named(settings: Mapping, source: str | Path) -> None:
    """Import the classes that settings from a file name.

    They must be this project's, imported already, or in a file of the current folder: nothing else
    that is installed is imported because a file says so.
    """
    here = Path.cwd()
    for key, name in named(settings):
        module, top = name.rpartition(".")[0], name.partition(".")[0]
        if top in OURS or is_imported_class(name):
            continue
        place = find_place(top, here)
        if place and not place.is_relative_to(here.resolve()):
            raise UserError(f"{source} is refused: it names {name}, from outside this project")
        if key in ("class_path", "_class_path"):
            if place is None:
                raise UserError(
                    f"{source} needs the class {name}, and there is no {top}.py in the current "
                    f"folder {here}: run this where it is, or import it first"
                )
            importlib.import_module(module)


def is_imported_class(name: str) -> bool:
    """Say whether a name is that of a class which is imported, and isn't Python's own."""
    module, _, attribute = name.rpartition(".")
    found = getattr(sys.modules.get(module), attribute, None)
    return isinstance(found, type) and name.partition(".")[0] not in sys.stdlib_module_names


def find_place(module: str, here: Path) -> Path | None:
    """Find the file or folder of a module, which may lie in the current folder."""
    if str(here) not in sys.path:
        sys.path.append(str(here))
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    folders = spec.submodule_search_locations or [spec.origin if spec.has_location else None]
    return Path(next(iter(folders)) or "/")  # / for what is built into Python


def named(settings: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Find what could be the name of a class or function in nested settings, with its key."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from named(value, str(name))
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from named(value)
    elif isinstance(settings, str) and DOTTED.fullmatch(settings):
        yield key, settings
