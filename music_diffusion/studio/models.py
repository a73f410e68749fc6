"""The models that the studio's workers hold, and what is known of one before it is loaded."""

import inspect
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path

import torch

from foundation.audio_module import AudioModel
from foundation.conditions import Conditions, conditions_in
from foundation.errors import UserError
from foundation.sampler import Sampler
from foundation.settings import content_of
from jbdiff.dance_module import Dance
from jbdiff.levels import COARSEST
from music_diffusion.checkpoints.load import load_model
from music_diffusion.checkpoints.named_classes import import_named
from music_diffusion.commands.runs import find_checkpoint
from sedd.samplers import TokenSampler

KEPT = 2  # models that a device holds
HIDDEN = ("eps",)  # options that nobody turns


class Models:
    """Loaded models, the last few of each device; a file that has changed is loaded anew."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: OrderedDict[tuple[str, float, torch.device], AudioModel] = OrderedDict()

    @contextmanager
    def loaded(self, source: str, device: torch.device) -> Iterator[AudioModel]:
        """Yield the model of a name that `load_model` takes, on a device; it stays there."""
        key = source, stamp(source), device
        with self.lock:
            model = self.held.pop(key, None)
        if model is None:
            model = load_model(source, "cpu").to(device)
        try:
            yield model
        finally:
            with self.lock:
                self.held[key] = model
                ours = [other for other in self.held if other[2] == device]
                for old in ours[:-KEPT]:
                    del self.held[old]


@contextmanager
def guidance_of(model: AudioModel, guidance: float | None) -> Iterator[None]:
    """Let a model that has a guidance use another one; UserError for one that hasn't."""
    if guidance is None:
        yield
        return
    if not hasattr(model, "guidance"):
        raise UserError(f"{type(model).__name__} has no guidance: leave it empty")
    before = model.guidance
    setattr(model, "guidance", guidance)  # noqa: B010 (not an attribute of all models)
    try:
        yield
    finally:
        setattr(model, "guidance", before)  # noqa: B010


@dataclass(frozen=True)
class Facts:
    """What the browser must know of a model.

    Attributes:
        kind: its class
        sampler: the name of its own sampler
        samplers: options by the name of a sampler, with their defaults; its own has its own ones
        takes_init: whether it can resemble a file
        guided: whether it follows a context with a guidance
        part: its place in a song: level_3 to level_0, dance; "" for none
        conditions: what it can be told of the music
    """

    kind: str
    sampler: str
    samplers: dict[str, dict[str, float]]
    takes_init: bool
    guided: bool
    part: str
    conditions: Conditions


def facts_of(source: str) -> Facts:
    """Look at a model's settings without loading its weights; UserError for a damaged file."""
    return _facts(source, stamp(source))


@lru_cache(maxsize=256)
def _facts(source: str, stamp: float) -> Facts:
    path = find_checkpoint(source)
    content = content_of(path)
    settings = content.get("hyper_parameters", {})
    name = str(settings.get("_class_path", ""))
    import_named({"_class_path": name} if name else {}, path)
    module, _, kind_name = name.rpartition(".")
    kind = getattr(sys.modules.get(module), kind_name, Dance)
    own, values = own_sampler(kind, settings)
    known = {one.__name__: options_of(one) for one in samplers(kind.sampler_type)}
    known[own] = {name: values.get(name, usual) for name, usual in known.get(own, {}).items()}
    return Facts(
        kind.__name__,
        own,
        known,
        not issubclass(kind.sampler_type, TokenSampler),
        "guidance" in inspect.signature(kind).parameters,
        part_of(kind, settings),
        conditions_in(content, str(path)) or Conditions(),
    )


def own_sampler(kind: type, settings: dict) -> tuple[str, dict[str, float]]:
    """Return the name and the options of the sampler that a model was made with."""
    given = settings.get("sampler")
    if isinstance(given, dict):
        return str(given.get("class_path")).rpartition(".")[2], dict(given.get("init_args") or {})
    usual = inspect.signature(kind).parameters.get("sampler")
    if usual is None or not is_dataclass(usual.default):
        return "", {}
    return type(usual.default).__name__, vars(usual.default)


def part_of(kind: type, settings: dict) -> str:
    if issubclass(kind, Dance):
        return "dance"
    level = settings.get("jb_level")
    return f"level_{level}" if isinstance(level, int) and 0 <= level <= COARSEST else ""


def samplers(kind: type[Sampler]) -> Iterator[type[Sampler]]:
    """Yield the classes that sample, of a kind and all below it."""
    if not inspect.isabstract(kind) and kind is not Sampler:
        yield kind
    for below in kind.__subclasses__():
        yield from samplers(below)


def options_of(kind: type[Sampler]) -> dict[str, float]:
    """Return a sampler's options that are numbers, with their defaults."""
    values = {part.name: part.default for part in fields(kind)}  # type: ignore[arg-type]
    return {
        name: value
        for name, value in sorted(values.items(), key=lambda item: item[0] != "steps")
        if isinstance(value, (int, float)) and name not in HIDDEN
    }


def stamp(source: str) -> float:
    """Return when a model's file was changed."""
    path = Path(find_checkpoint(source))
    return path.stat().st_mtime if path.exists() else 0.0
