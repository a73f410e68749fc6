"""What the command line prints beside results: events, and what was wrong."""

import errno
import logging
import re
import sys
import warnings
from argparse import ArgumentError
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TextIO

PACKAGES = (
    *("foundation", "audio", "codec", "sedd", "jbdiff", "datamodules", "callbacks", "metrics"),
    "music_diffusion",
)
NO_MEMORY = "out of memory|can't allocate memory|tried to allocate"  # torch's words, by device


def above_bars(stream: TextIO) -> AbstractContextManager:
    """Let what is printed stand on a line of its own, above progress bars."""
    bars = sys.modules.get("tqdm")  # none where nothing has imported it
    return bars.tqdm.external_write_mode(stream) if bars else nullcontext()


class AboveBars(logging.StreamHandler):
    def emit(self, record: logging.LogRecord) -> None:
        with above_bars(self.stream):
            super().emit(record)


def report_events() -> None:
    """Print what our packages log; leave out Lightning's tips and what means nothing here."""
    handler = AboveBars()
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    dull = ("Tip:", "Found current_model_state")
    rank_zero.addFilter(lambda record: not any(words in record.getMessage() for words in dull))
    for message in (
        ".*LeafSpec",
        "Checkpoint directory .* exists and is not empty",
        r"It is recommended to use `self.log\('[fk]ad/",  # alike on all processes
    ):
        warnings.filterwarnings("ignore", message=message)


def check_configs(args: list[str]) -> None:
    """Name the file of settings that isn't one, which the parser doesn't."""
    import yaml

    for arg, after in zip(args, [*args[1:], ""], strict=True):
        name, _, value = arg.partition("=")
        path = Path(value or after)
        if name not in ("--config", "-c") or not path.is_file():
            continue
        try:
            content = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} holds no settings in YAML: {reason}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} holds no settings in YAML, but {type(content).__name__}")


def explain(error: Exception, args: list[str]) -> tuple[str, int] | None:
    """Say in a line what was wrong, with the exit status; None for what is no mistake but ours."""
    if isinstance(error, ArgumentError):
        told = clear(str(error))
        kind = " ".join(args[: 1 + (args[:2] in (["sample", "jbdiff"], ["sample", "dance"]))])
        part = re.match(r"Parser key \"(\w+)\": Problem with given class_path '([\w.]+)'", told)
        options = "--{}.help {}".format(*part.groups()) if part else "--help"
        return f"{told}\n(cli.py {kind} {options} lists the options)", 2
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full, {error.filename or 'a file'} can't be written: make room", 1
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}", 2
    if isinstance(error, (ValueError, OSError)):
        return clear(str(error)), 2
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the package {error.name} isn't in this Python: pip install -r requirements.txt, or, "
            "after make quickstart, source .venv/bin/activate",
            2,
        )
    if isinstance(error, RuntimeError) and re.search(NO_MEMORY, str(error)):
        return (
            "out of memory: make less at once (fit: --data.batch_size, with "
            "--trainer.accumulate_grad_batches to make up for it; sample: --seconds, --batch_size)",
            1,
        )
    return None


def clear(message: str) -> str:
    """Cut a parser's tree of failed attempts down to the reasons."""
    if "class_path 'lightning.LightningModule'" in message:
        return (
            "no config says what the model is: an overlay, such as configs/tiny.yaml, goes after a "
            "whole one, --config configs/sedd_absorb.yaml --config configs/tiny.yaml"
        )
    start, found, reasons = message.partition("Errors:")
    if not found:
        return " ".join(re.sub(r"<class '(\w+)'>", r"\1", message).split())
    parts = [" ".join(part.split()) for part in reasons.split("Given value")[0].split("- ")]
    parts = [part for part in parts if part and not part.startswith("Expected a <class")]
    where = start.split("Does not validate")[0].strip()
    if not parts:
        kinds = " ".join(start.partition("Subtypes:")[2].split())
        value = reasons.partition("Given value:")[2].strip()
        return f"{where} expected one of {kinds}, got {value}"
    return f"{where} {'; '.join(parts)}".strip()
