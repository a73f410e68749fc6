"""Write a model without what only training needs: averaged weights, settings, a model card."""

import json
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from foundation.conditions import CONDITIONS
from foundation.errors import UserError
from foundation.files import output_folder, replacing, write_json
from foundation.settings import CONFIG
from foundation.weights import WEIGHTS, packed, read_content, unwrap, write_state
from music_diffusion.checkpoints.card import CARD, model_card
from music_diffusion.checkpoints.legacy import upgrade_settings
from music_diffusion.commands.runs import find_checkpoint

KEPT = ("provenance", CONDITIONS)  # of a checkpoint, beside plain values


@dataclass(frozen=True)
class Exported:
    """What an export wrote: its folder, its bytes and those of the checkpoint."""

    folder: Path
    size: int
    checkpoint_size: int


def export(
    checkpoint: str | Path, out: str | Path = "exported", bits: int = 32, licence: str | None = None
) -> Exported:
    """Write a checkpoint's averaged weights, settings and a model card to a folder.

    `sample`, `load` and `fit --model.init_from` take the folder as they take a checkpoint. With 16
    bits weights are stored in float16, with 8 in rows of integers with a scale; loaded they are
    float32 again.

    Args:
        checkpoint: a checkpoint of fit, or `last` or `best` of the newest run
        out: the folder that gets model.safetensors, config.json and README.md
        bits: store weights in 32, 16 or 8 bits
        licence: of the weights, for the card, such as cc-by-4.0; the default is that of the music,
            where the data says it

    Raises:
        UserError: for a file that is no checkpoint of fit, and weights that don't fit the bits
    """
    if bits not in (8, 16, 32):
        raise UserError(f"weights are exported in 8, 16 or 32 bits, got {bits}")
    path = Path(find_checkpoint(str(checkpoint)))
    if path.is_dir():
        raise UserError(f"{path} is a folder: export takes a checkpoint of fit, a file")
    content = read_content(path)
    if "hyper_parameters" not in content:
        raise UserError(f"{path} is no checkpoint of fit: it holds no settings of a model")
    state = unwrap(content, path)
    plain = {k: v for k, v in content.items() if v is None or isinstance(v, str | int | float)}
    plain |= {key: content[key] for key in KEPT if key in content}
    if licence:
        plain["licence"] = licence
    config = plain | {"hyper_parameters": upgrade_settings(content["hyper_parameters"])}
    try:
        json.dumps(config)
    except TypeError as error:
        raise UserError(
            f"{path} was made from objects, not from the command line's settings: {error}"
        ) from error
    folder = output_folder(out)
    write_weights(state, bits, folder / WEIGHTS)
    write_json(folder / CONFIG, config)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(model_card(config, state, bits), encoding="utf-8")
    size = sum((folder / name).stat().st_size for name in (WEIGHTS, CONFIG, CARD))
    return Exported(folder, size, path.stat().st_size)


def write_weights(state: dict[str, Tensor], bits: int, path: Path) -> None:
    """Write the weights, in fewer bits if asked and if they fit."""
    if bits == 16:
        state = {n: v.half() if v.is_floating_point() else v for n, v in state.items()}
        if bad := [name for name, value in state.items() if value.isinf().any()]:
            raise UserError(f"float16 is too narrow for {bad[0]}: export with 32 bits")
    write_state(packed(state) if bits == 8 else state, path)
