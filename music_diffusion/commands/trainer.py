"""Lightning's Trainer with the types and defaults that users of the command line expect."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.progress import Progress
from foundation.checks import check_at_least, check_processes
from foundation.errors import UserError
from music_diffusion.commands.accelerators import (
    REFRESH,
    MatmulPrecision,
    device_of,
    set_matmul_precision,
    with_bucket_views,
)
from music_diffusion.commands.launched import watch_first_process

log = logging.getLogger(__name__)
Precision = Literal[
    "auto", "fast", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true",
    "transformer-engine", "transformer-engine-float16", "32", "64", "16", "bf16", 16, 32, 64,
]  # fmt: skip
InRun = Callable[[str], CSVLogger] | Callable[[str], TensorBoardLogger]  # given a `save_dir`
LEAST = {  # of Lightning's options that it doesn't check itself
    "check_val_every_n_epoch": 1,
    "accumulate_grad_batches": 1,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": -1,
    "gradient_clip_val": 0,
}
FAST_BF16 = ("avx512_bf16", "amx_bf16", "amx_tile", "bf16", "sve_bf16")  # of a CPU


class RunTrainer(Trainer):
    """A Trainer whose precision follows the device and whose loggers write to the run's folder.

    Args:
        limit_train_batches: 1 is one batch, 1.0 all of them, as in the other limits
        limit_val_batches: batches of a validation, or a share of them
        limit_test_batches: batches of a test, or a share of them
        limit_predict_batches: batches to predict, or a share of them
        overfit_batches: batches to train and validate on, or a share of them
        val_check_interval: training batches from one validation to the next, or a share of an epoch
        precision: auto is bf16-mixed on an accelerator that has it, float32 elsewhere; fast takes
            bf16-mixed on a CPU too, if it computes in bfloat16 itself: transformers train 1.5 times
            as fast there, small U-Nets don't
        logger: CSVLogger, TensorBoardLogger, WandbLogger or others; false for none
        callbacks: EMA, checkpoints, demos and others
        enable_progress_bar: a bar in a terminal, and a line for each validation
        enable_model_summary: Lightning's table of modules; a line tells the weights without it
        default_root_dir: the run's folder, instead of --name
        float32_matmul_precision: of products of float32 matrices; if null, high on CUDA, which is
            TF32, but for codecs
    """

    def __init__(
        self,
        *,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        precision: Precision = "auto",
        logger: list[InRun | Logger] | bool | None | InRun | Logger = None,  # dumped in this order
        callbacks: list[Callback] | Callback | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool = False,
        default_root_dir: str | None = None,
        float32_matmul_precision: MatmulPrecision | None = None,
        **kwargs,
    ):
        watch_first_process()
        check_counts(val_check_interval, kwargs)
        accelerator = kwargs.get("accelerator", "auto")
        device = device_of(accelerator)
        set_matmul_precision(float32_matmul_precision, device)
        kwargs["strategy"] = with_bucket_views(
            kwargs.get("strategy", "auto"), device, kwargs.get("devices", "auto"),
            kwargs.get("num_nodes", 1),
        )  # fmt: skip
        root = default_root_dir or "."
        if isinstance(logger, list):
            loggers = [in_folder(one, root) for one in logger]
        else:
            loggers = in_folder(logger, root)
        with refused_settings():
            super().__init__(
                limit_train_batches=limit_train_batches,
                limit_val_batches=limit_val_batches,
                limit_test_batches=limit_test_batches,
                limit_predict_batches=limit_predict_batches,
                overfit_batches=overfit_batches,
                val_check_interval=val_check_interval,
                precision=resolve_precision(precision, accelerator),  # type: ignore[arg-type]
                logger=loggers,  # type: ignore[arg-type]
                callbacks=with_progress(callbacks, enable_progress_bar, device),
                enable_progress_bar=enable_progress_bar,
                enable_model_summary=enable_model_summary,
                default_root_dir=default_root_dir,
                **kwargs,
            )


def with_progress(
    callbacks: list[Callback] | Callback | None, enabled: bool | None, device: torch.device
) -> list[Callback]:
    """Add our progress bar where there is to be one and none is given.

    It rarely reads the loss of an accelerator, which computes ahead.
    """
    given = list(callbacks) if isinstance(callbacks, list) else [callbacks] if callbacks else []
    if enabled is False or any(isinstance(one, ProgressBar) for one in given):
        return given
    return [*given, Progress(1 if device.type == "cpu" else REFRESH)]


def check_counts(interval: object, options: Mapping[str, object]) -> None:
    """Raise UserError for counts that Lightning would divide by, or take without obeying them."""
    for name, least in LEAST.items():
        value = options.get(name)
        if isinstance(value, (int, float)):
            check_at_least(least, **{f"trainer: {name}": value})
    if isinstance(devices := options.get("devices"), int):
        check_processes(**{"trainer: devices": devices})
    if interval == 0:
        raise UserError(
            "trainer: val_check_interval must be above 0, got 0; --trainer.limit_val_batches 0 "
            "trains without validation"
        )


@contextmanager
def refused_settings() -> Iterator[None]:
    """Turn what Lightning says of wrong settings, before any other code runs, into a UserError."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise UserError(f"trainer: {error}") from error
    except RuntimeError as error:
        if found := re.search("more than one stateful callback of type `(\\w+)`", str(error)):
            raise UserError(
                f"trainer.callbacks: {found[1]} is given twice, as where "
                "callbacks+= repeats one of the config: change the options of that one"
            ) from error
        raise


def in_folder(logger: InRun | Logger | bool | None, folder: str) -> Logger | bool | None:
    """Make a logger that has no folder of its own, to write to this one."""
    if isinstance(logger, (Logger, bool)) or logger is None:
        return logger
    options = getattr(logger, "keywords", {})  # the parser makes a functools.partial
    return logger(save_dir=options.get("save_dir", folder))  # type: ignore[call-arg]


def resolve_precision(precision: Precision, accelerator: object) -> Precision:
    """Replace auto by what the device does well, and warn where a choice is very slow."""
    device = device_of(accelerator)
    on_cpu = device.type == "cpu" and accelerator in ("auto", "cpu")
    if precision in ("auto", "fast"):
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        fast = fast or (precision == "fast" and on_cpu and cpu_has_bf16())
        say(logging.INFO, f"precision: {'bf16-mixed' if fast else 'float32'} on {device.type}")
        return "bf16-mixed" if fast else "32-true"
    few_bits = str(precision).startswith(("bf16", "16"))  # 16-mixed is bf16-mixed on a CPU
    if on_cpu and few_bits and not cpu_has_bf16():
        say(
            logging.WARNING,
            f"precision {precision}: this CPU has no instructions for bfloat16, a step may take 30 "
            "times as long as in 32-true, the default here",
        )
    if precision in ("bf16-true", "16-true"):
        say(
            logging.WARNING,
            f"precision {precision}: weights and the optimizer's averages of 16 bits lose small "
            "steps; bf16-mixed keeps both in float32",
        )
    return precision


def cpu_has_bf16() -> bool:
    """Say whether this CPU computes in bfloat16 itself."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in FAST_BF16)


@rank_zero_only
def say(level: int, message: str) -> None:
    log.log(level, message)
