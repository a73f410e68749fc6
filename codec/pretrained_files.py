"""Models of transformers and diffusers: found in a folder or on the hub, and loaded strictly."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

from safetensors import SafetensorError
from torch import nn

from foundation.downloads import downloads_allowed
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import user_path

CONFIG = "config.json"
# settings that say who wrote the file, and not what the model computes
ABOUT = ("transformers_version", "architectures", "torch_dtype", "dtype")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Library:
    """How a library lays out a model's folder.

    Attributes:
        name: of the package
        needs: what pip installs
        type_key: the setting that says what a folder holds
        weights: the file of weights; pickles are not read
        options: of its from_pretrained
    """

    name: str
    needs: str
    type_key: str
    weights: str
    options: Mapping[str, bool] = field(default_factory=dict)

    def load_class(self, name: str) -> type[nn.Module]:
        """Import a class; UserError where the package isn't installed or too old."""
        return getattr(load_package(self.name, self.needs), name, None) or self._too_old(name)

    def _too_old(self, name: str) -> type[nn.Module]:
        raise UserError(f"the {self.name} here has no {name}: pip install '{self.needs}'")


TRANSFORMERS = Library("transformers", "transformers>=5.24", "model_type", "model.safetensors")
DIFFUSERS = Library(
    "diffusers",
    "diffusers>=0.42",
    "_class_name",
    "diffusion_pytorch_model.safetensors",
    {"low_cpu_mem_usage": False},  # which needs one more package
)


def load_package(name: str, needs: str) -> ModuleType:
    """Import a package of the extra `codecs`; UserError says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        command = f"pip install '{needs}' (the extra `codecs`)"
        raise UserError(f"codec.pretrained needs {command}: {error}") from error


def find_folder(path: str | None, hub: str | None, library: Library, subfolder: str = "") -> Path:
    """Return the folder of a model: a local one, or what the hub has under a name.

    A local folder never touches the network. A name's files are downloaded once, by huggingface_hub
    to its own cache; HF_HUB_OFFLINE=1 keeps it to what is there. A name in a file, such as a
    checkpoint's codec, is never downloaded.

    Args:
        path: a folder, or one whose `subfolder` it is
        hub: OWNER/NAME or OWNER/NAME@REVISION
    """
    if (path is None) == (hub is None):
        raise UserError("give a local folder as path or a name on the hub as hub, one of the two")
    root = user_path(path, "path") if path is not None else snapshot(str(hub), library, subfolder)
    inner = root / subfolder
    folder = inner if (inner / CONFIG).is_file() else root
    for name in (CONFIG, library.weights):
        if not (folder / name).is_file():
            raise MissingFileError(
                f"no {name} in {folder}: give the folder of a model of {library.name}, with "
                f"{CONFIG} and {library.weights} as its save_pretrained writes them"
            )
    return folder


def snapshot(hub: str, library: Library, subfolder: str) -> Path:
    """Return the cached folder of a name on the hub, downloaded if it isn't there yet."""
    load_package("huggingface_hub", "huggingface_hub")
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]

    name, _, revision = hub.partition("@")
    inside = f"{subfolder}/" if subfolder else ""
    files = [inside + CONFIG, inside + library.weights]

    def get(cached: bool) -> Path:
        found = snapshot_download(
            name, revision=revision or None, allow_patterns=files, local_files_only=cached
        )
        return Path(found)

    try:
        found = get(cached=True)
        if all((found / file).is_file() for file in files):  # else a download was interrupted
            return found
    except OSError:  # not there yet
        pass
    except ValueError as error:
        raise UserError(f"hub must be OWNER/NAME or OWNER/NAME@REVISION, got {hub}") from error
    if not downloads_allowed():
        raise MissingFileError(
            f"the codec {hub} isn't on this machine, and nothing is downloaded because a file "
            f"names it: hf download {name} {' '.join(files)}"
        )
    try:
        log.info("downloading %s from the hub", hub)
        return get(cached=False)
    except OSError as error:  # all of the hub's errors are
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise MissingFileError(f"{hub} can't be downloaded from the hub: {reason}") from error


def read_settings(folder: Path, library: Library, kind: str) -> dict:
    """Read config.json without what it says about itself; UserError unless it is of a kind."""
    with unreadable(f"{folder / CONFIG} can't be read"):
        settings = json.loads((folder / CONFIG).read_text())
        found = settings.get(library.type_key)
    if found != kind:
        raise UserError(f"{folder} holds a model of type {found}, expected {kind}")
    return {
        name: value
        for name, value in settings.items()
        if name not in ABOUT and not name.startswith("_")
    }


def load_model(folder: Path, library: Library, class_name: str) -> nn.Module:
    """Load all weights of a model in float32, from safetensors alone, without the network."""
    kind = library.load_class(class_name)
    try:
        with _quietly(library):
            model, report = kind.from_pretrained(  # pyright: ignore[reportAttributeAccessIssue]
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **library.options,
            )
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} can't be loaded as {class_name}: {reason}") from error
    lacking = sorted(str(name) for name in [*report["missing_keys"], *report["mismatched_keys"]])
    if lacking:
        some = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
        raise UserError(f"{folder} lacks {len(lacking)} weights of {class_name}: {some}")
    if unknown := report["unexpected_keys"]:
        log.warning("%s holds %d weights that %s doesn't use", folder, len(unknown), class_name)
    return model.float().eval().requires_grad_(False)


@contextmanager
def _quietly(library: Library) -> Iterator[None]:
    """Load without the library's progress bars, warnings and tables: errors say it in a line."""
    settings = import_module(f"{library.name}.utils.logging")
    shown, verbosity = settings.is_progress_bar_enabled(), settings.get_verbosity()
    settings.disable_progress_bar()
    settings.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        settings.set_verbosity(verbosity)
        if shown:
            settings.enable_progress_bar()
