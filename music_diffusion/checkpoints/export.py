"""A model without what only training needs: averaged weights, settings, codec fingerprint."""

import io
import json
from pathlib import Path

import torch
from torch import Tensor

from foundation.weights import WEIGHTS, packed, read_content, read_state, unwrap, write_state

CONFIG = "config.json"


def holds_settings(path: str | Path) -> bool:
    """Say whether a file of weights is a checkpoint of fit, from which a model can be rebuilt."""
    return "_class_path" in settings_of(path)


def settings_of(path: str | Path) -> dict:
    """Give the settings that a checkpoint of fit or an export holds; none for other files."""
    path = Path(path).expanduser()
    exported = (path / CONFIG).is_file()
    content = read_config(path) if exported else read_content(path, in_place=True)
    return content.get("hyper_parameters", {})


def read_config(folder: Path) -> dict:
    """Read what an exported folder holds beside its weights; ValueError where it's damaged."""
    path = folder / CONFIG
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def output_folder(out: str | Path) -> Path:
    """Give the path of a folder to write to; ValueError if it, or one above it, is a file."""
    folder = Path(out).expanduser()
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"--out {out}: {there} is a file, give a folder")
    return folder


def export(checkpoint: str | Path, out: str | Path, bits: int = 32) -> int:
    """Write a checkpoint of fit as `model.safetensors` and `config.json`; give their bytes.

    `state_dict` holds the averaged weights where training averaged them. With 16 `bits` they are
    stored in float16, with 8 in rows of integers with a scale; once loaded they are float32 again.
    """
    if bits not in (8, 16, 32):
        raise ValueError(f"weights are exported in 8, 16 or 32 bits, got {bits}")
    if Path(checkpoint).expanduser().is_dir():
        raise ValueError(f"{checkpoint} is a folder: export takes a checkpoint of fit, a file")
    content = read_content(checkpoint)
    if "hyper_parameters" not in content:
        raise ValueError(f"{checkpoint} is no checkpoint of fit: it holds no settings of a model")
    state = unwrap(content, checkpoint)
    plain = {k: v for k, v in content.items() if v is None or isinstance(v, str | int | float)}
    config = plain | {"hyper_parameters": dict(content["hyper_parameters"])}
    try:
        text = json.dumps(config, indent=1)
    except TypeError as error:
        raise ValueError(
            f"{checkpoint} was made from objects, not from the command line's settings: {error}"
        ) from error
    out = output_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write(state, bits, out / WEIGHTS)
    (out / CONFIG).write_text(text)
    return sum((out / name).stat().st_size for name in (WEIGHTS, CONFIG))


def write(state: dict[str, Tensor], bits: int, path: Path) -> None:
    """Write the weights, in fewer bits if asked and if they fit."""
    if bits == 16:
        state = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
        if bad := [name for name, value in state.items() if value.isinf().any()]:
            raise ValueError(f"float16 is too narrow for {bad[0]}: export with 32 bits")
    write_state(packed(state) if bits == 8 else state, path)


def as_checkpoint(folder: Path) -> io.BytesIO:
    """Give an exported folder the form that `load_from_checkpoint` reads."""
    if not (folder / CONFIG).is_file():
        found = sorted(folder.glob("*.ckpt")) or sorted(folder.glob("checkpoints/*.ckpt"))
        hint = f"; give one of its checkpoints, such as {found[-1]}" if found else ""
        raise FileNotFoundError(f"{folder} is no exported model: it has no {CONFIG}{hint}")
    config = read_config(folder)
    state = {
        name: value.float() if value.dtype == torch.float16 else value
        for name, value in read_state(folder).items()
    }
    file = io.BytesIO()
    torch.save(config | {"state_dict": state}, file)
    file.seek(0)
    return file
