"""Weights: read from any checkpoint file without running code from it, loaded strictly, hashed."""

import collections
import errno
import hashlib
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from foundation.arrays import check_stored
from foundation.errors import MissingFileError, UserError, unreadable
from foundation.files import replacing, user_path

SCALAR = np.float64(0).__reduce__()[0]  # the function that makes numpy's scalars
# Types that published files hold besides tensors, by name: numpy scalars, paths, OpenAI's settings
# (a dict under another name). No other type is loaded from a file.
ALLOWED = [
    (SCALAR, "numpy.core.multiarray.scalar"),
    (SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    pathlib.PosixPath,
    collections.defaultdict,
    (dict, "jukebox.hparams.Hyperparams"),
]
WEIGHTS = "model.safetensors"  # in an exported folder
REPEATED = 2**30  # numbers that a file may repeat, as expanded constants do
SCALE = ":scale"  # ends the name of what an 8 bit weight's rows are multiplied by
ADVICE = (
    "a file is read only if it holds weights and plain values; where you trust it, load it with "
    "its own software and save its state_dict alone"
)


def read_content(path: str | Path, in_place: bool = False) -> dict:
    """Read a .ckpt, .pth, .bin, .pth.tar or .safetensors file, or that of an exported folder.

    `in_place` leaves tensors in the file until they're used, to read the other content alone.
    Raises UserError for any other file and for one that would run code, MissingFileError where
    there is none.
    """
    path = user_path(path, "the path of weights")
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise MissingFileError(f"no weights at {path}")
    with unreadable(f"{path} can't be read as a checkpoint"):
        content = parse(path, in_place)
        if not isinstance(content, dict):
            raise UserError(f"{path} holds a {type(content).__name__}, not the weights of a model")
        check_settings(content, path)
        return content


def parse(path: Path, in_place: bool) -> object:
    """Read a file of weights; UserError for one that would run code, much else if it's damaged."""
    if path.suffix == ".safetensors":
        return unpacked(load_file(path))
    zipped = is_archive(path)
    try:
        with torch.serialization.safe_globals(ALLOWED):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=in_place and zipped)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        reason = reason.strip().removeprefix("WeightsUnpickler error: ").split(" was not")[0]
        raise UserError(
            f"{path} is refused: it is no checkpoint, or loading it would run code from it"
            f"{f' ({reason})' if reason else ''}; {ADVICE}"
        ) from error


def is_archive(path: Path) -> bool:
    """Tell torch's zip archives (True) from its plain pickles; ValueError for any other file."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:1] != b"\x80" and start != b"PK\x03\x04":
        raise ValueError("torch.save didn't write it" if start else "it is empty")
    if start[:2] != b"PK":
        return False
    if not zipfile.is_zipfile(path):  # the archive's list is at its end
        raise ValueError("it is cut short, copy or download it again")
    with zipfile.ZipFile(path) as archive:
        check_stored(archive, path.stat().st_size)
    return True


def check_settings(content: dict, path: Path) -> None:
    """Raise UserError unless the settings in a file, where it has any, are named by texts."""
    settings = content.get("hyper_parameters", {})
    kind = settings.get("_class_path", "") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or not all(isinstance(name, str) for name in settings):
        raise UserError(f"{path} is damaged: its hyper_parameters are no settings")


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict by its bare names, whatever it is wrapped in."""
    return unwrap(read_content(path), path)


def unwrap(content: dict, path: str | Path) -> dict[str, Tensor]:
    """Find the state dict in what a file holds."""
    state = content.get("state_dict", content.get("model", content))
    check_state(state, path)
    return {name.removeprefix("module."): value for name, value in state.items()}


def check_state(state: object, path: str | Path) -> None:
    """Raise UserError for what is no state dict, or holds tensors far larger than their data."""
    tensors = state.items() if isinstance(state, dict) else []
    named = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors)
    if not tensors or not named:
        raise UserError(f"{path} holds no state_dict: {ADVICE}")
    repeated = 0
    for name, value in tensors:
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise UserError(f"{path} is refused: its {name} is no plain tensor")
        held = value.untyped_storage().nbytes() // value.element_size()
        repeated += max(0, value.numel() - held)
        if repeated > REPEATED:
            raise UserError(f"{path} is refused: its {name} is {value.numel()} numbers of {held}")


def under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the entries whose names start with a prefix, and remove the prefix."""
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round matrices and kernels to 8 bits, with a scale for each row; keep vectors as they are."""
    made = dict(state)
    for name, value in state.items():
        if value.is_floating_point() and value.dim() > 1:
            rows = value.float().flatten(1)
            scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
            made[name] = (rows / scale).round().to(torch.int8).view(value.shape)
            made[name + SCALE] = scale
    return made


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert packed weights back to float32; leave others as they are."""
    made = {name: value for name, value in state.items() if not name.endswith(SCALE)}
    for name in made.keys() & {name.removesuffix(SCALE) for name in state.keys() - made.keys()}:
        rows = made[name].float().flatten(1) * state[name + SCALE]
        made[name] = rows.view(made[name].shape)
    return made


def write_state(
    state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, complete or not at all."""
    own = {name: value.contiguous().clone() for name, value in state.items()}
    try:
        with replacing(path) as temporary:
            save_file(own, temporary, metadata)
            temporary.chmod(0o644)  # safetensors makes its files readable by their owner alone
    except SafetensorError as error:  # its message quotes the operating system's
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error


def mismatch(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], shown: int = 3) -> str:
    """Describe what of a state dict is missing, unknown or of another shape; "" if it fits."""
    shapes = [
        f"{name} {list(state[name].shape)} for {list(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unknown": sorted(state.keys() - wanted.keys()),
        "of another shape": shapes,
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:shown])}{', …' if len(names) > shown else ''})"
        for what, names in problems.items()
        if names
    )


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], problem: str) -> None:
    """Load a state dict; UserError with `problem` and the names that don't fit."""
    if found := mismatch(module.state_dict(), state):
        raise UserError(f"{problem}: {found}")
    module.load_state_dict(state)


def fingerprint(label: str, *states: Mapping[str, Tensor]) -> str:
    """Hash a label and state dicts to 16 hexadecimal digits.

    The state dicts are hashed in the order given, each in float32 and sorted by name.
    """
    digest = hashlib.sha256(label.encode())
    for state in states:
        for name, value in sorted(state.items()):
            digest.update(name.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
