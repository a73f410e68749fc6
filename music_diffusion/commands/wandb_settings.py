"""Weights & Biases: its files in the run's folder, a resumed run as the same run, no questions."""

import logging
import os
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from jsonargparse import Namespace

log = logging.getLogger(__name__)
DULL = "The anonymous setting has no effect and will be removed in a future version."


def settle_wandb(trainer: Namespace, run_id: str | None) -> None:
    """Complete the settings of a Trainer's WandbLogger; `run_id` is that of the resumed run."""
    loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    for logger in loggers:
        if isinstance(logger, Namespace) and logger.class_path.endswith("WandbLogger"):
            go_offline_without_account()
            silence_dull_warning()
            options = logger.init_args
            if options.save_dir == ".":
                options.save_dir = trainer.default_root_dir
            if run_id and options.id is None:
                options.id, options.resume = run_id, "allow"


def go_offline_without_account() -> None:
    """Keep wandb from asking for an account: without one, runs are kept on disk."""
    netrc = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
    known = os.environ.get("WANDB_API_KEY") or (
        netrc.is_file() and "wandb" in netrc.read_text(errors="ignore")
    )
    if not known and "WANDB_MODE" not in os.environ:
        os.environ["WANDB_MODE"] = "offline"
        os.environ.setdefault("WANDB_SILENT", "true")  # the next line says it all
        log.info("wandb: no account found, its logs stay on this machine (wandb login, wandb sync)")


def silence_dull_warning() -> None:
    """Let wandb print unseen what Lightning makes it say once: its logger sets `anonymous`."""
    try:
        import wandb
    except ImportError:  # the logger says what to install
        return
    with redirect_stderr(StringIO()):
        wandb.termwarn(DULL, repeat=False)
