"""Read the weights out of any checkpoint file without running code from it."""

import collections
import errno
import os
import pathlib
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

SCALAR = (np.core if np.__version__ < "2" else np._core).multiarray.scalar
# What published files hold beside tensors, by name: numpy scalars, paths, OpenAI's settings (a dict
# under another name). Nothing else is made from a file.
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
SCALE = ":scale"  # ends the name of what an 8 bit weight's rows are multiplied by
WAY_OUT = (
    "a file is read only if it holds weights and plain values; where you trust it, load it with "
    "its own software and save its state_dict alone"
)


def read_content(path: str | Path, in_place: bool = False) -> dict:
    """Read a .ckpt, .pth, .bin, .pth.tar or .safetensors file whole, or an exported folder's.

    `in_place` leaves tensors in the file until they're used, to look at what else there is.
    Raises ValueError for what is no such file, or would run code.
    """
    path = Path(path).expanduser()
    path = path / WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return unpacked(load_file(path))
        zipped = is_archive(path)
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=in_place and zipped
            )
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "")
        reason = reason.strip().removeprefix("WeightsUnpickler error: ").split(" was not")[0]
        raise ValueError(
            f"{path} is refused: it is no checkpoint, or loading it would run code from it"
            f"{f' ({reason})' if reason else ''}; {WAY_OUT}"
        ) from error
    except (RuntimeError, EOFError, SafetensorError, LookupError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0].split(". ")[0]
        raise ValueError(f"{path} can't be read as a checkpoint: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not the weights of a model")
    return content


def is_archive(path: Path) -> bool:
    """Say whether a file begins as torch's zip archives do; ValueError unless as its pickles do."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:1] != b"\x80" and start != b"PK\x03\x04":
        raise ValueError("torch.save didn't write it" if start else "it is empty")
    if start[:2] == b"PK" and not zipfile.is_zipfile(path):  # the archive's list is at its end
        raise ValueError("it is cut short, copy or download it again")
    return start[:2] == b"PK"


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict by its bare names, whatever it is wrapped in."""
    return unwrap(read_content(path), path)


def unwrap(content: dict, path: str | Path) -> dict[str, Tensor]:
    """Find the state dict in what a file holds."""
    state = content.get("state_dict", content.get("model", content))
    values = state.values() if isinstance(state, dict) else [None]
    if not state or not all(isinstance(value, Tensor) for value in values):
        raise ValueError(f"{path} holds no state_dict: {WAY_OUT}")
    return {name.removeprefix("module."): value for name, value in state.items()}


def under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Give what stands under a prefix, without it."""
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}


def packed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round matrices and kernels to 8 bits, beside a scale for each row; keep what is small."""
    made = dict(state)
    for name, value in state.items():
        if value.is_floating_point() and value.dim() > 1:
            rows = value.float().flatten(1)
            scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
            made[name] = (rows / scale).round().to(torch.int8).view(value.shape)
            made[name + SCALE] = scale
    return made


def unpacked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give packed weights as float32; others pass."""
    made = {name: value for name, value in state.items() if not name.endswith(SCALE)}
    for name in made.keys() & {name.removesuffix(SCALE) for name in state.keys() - made.keys()}:
        rows = made[name].float().flatten(1) * state[name + SCALE]
        made[name] = rows.view(made[name].shape)
    return made


def write_state(
    state: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write safetensors under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    own = {name: value.contiguous().clone() for name, value in state.items()}
    try:
        save_file(own, temporary, metadata)
        temporary.chmod(0o644)  # safetensors lets nobody else read what it writes
        os.replace(temporary, path)
    except SafetensorError as error:  # its words hold the operating system's
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
