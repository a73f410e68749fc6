"""What a checkpoint holds of a run: as JSON, which mutations take apart, and resumed from."""

import json
import logging
from pathlib import Path

import torch
from torch import Tensor

from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.ema import EMA
from callbacks.nonfinite import NonFinite
from callbacks.optimizer_settings import OptimizerSettings
from callbacks.resumed_states import ResumedStates
from foundation.errors import DivergedError, UserError
from foundation.files import read_json
from foundation.weights import read_content
from music_diffusion.commands.error_lines import explain
from music_diffusion.commands.training import check_parts
from tests.callbacks.toy import Toy, fit

STEPS = 4


class Scheduled(Toy):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": warmup, "interval": "step"},
        }


def train(folder: Path, steps: int, ckpt_path: str | None = None) -> None:
    callbacks = [ResumedStates(), NonFinite(), EMA(), StepCheckpoint(), BestCheckpoint()]
    options = {"num_sanity_val_steps": 0, "max_epochs": 10, "barebones": False}
    fit(folder, [*callbacks, OptimizerSettings()], steps, Scheduled(), ckpt_path, **options)


def make_states(folder: Path) -> Path:
    """Train a toy, and write what its checkpoint holds besides weights."""
    train(folder, STEPS)
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    path = folder / "states.json"
    path.write_text(json.dumps(plain(content)))
    return path


def resume_states(path: Path) -> None:
    """Resume from a checkpoint with these states, as the command line does."""
    content = tensors(read_json(path))
    torch.save(content, path.with_name("mutated.ckpt"))
    logging.disable(logging.WARNING)
    try:
        check_parts(read_content(path.with_name("mutated.ckpt")), path)
        train(path.parent / "again", STEPS + 2, str(path.with_name("mutated.ckpt")))
    except DivergedError as error:
        raise UserError(str(error)) from error
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        raise UserError(explained[0]) from error
    finally:
        logging.disable(logging.NOTSET)


def plain(value: object) -> object:
    """Return nested values as JSON takes them, tensors and numbered keys with a mark."""
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "type": str(value.dtype).removeprefix("torch.")}
    if isinstance(value, dict):
        return {f"#{key}" if type(key) is int else key: plain(v) for key, v in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def tensors(value: object) -> object:
    """Undo `plain`, as far as mutations have left it."""
    if isinstance(value, list):
        return [tensors(one) for one in value]
    if not isinstance(value, dict):
        return value
    try:
        return torch.tensor(value["tensor"], dtype=getattr(torch, value["type"]))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError):
        return {int(k[1:]) if k[:1] == "#" else k: tensors(part) for k, part in value.items()}
