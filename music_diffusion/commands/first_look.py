"""What is said before hours of encoding and training begin."""

import logging
import sys
from pathlib import Path

from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from callbacks.run_summary import HINT, million, trained_weights
from callbacks.trial import is_trial
from datamodules.music_data import MusicDataModule
from foundation.audio_module import AudioModel
from foundation.durations import spoken
from foundation.errors import UserError
from foundation.files import user_path
from foundation.windows import TokenWindow
from music_diffusion.commands.machine import this_machine
from music_diffusion.own_parts import check_own_parts

log = logging.getLogger(__name__)
LARGE = 30_000_000  # weights, from where on a processor is too slow to train them
FLOPS = 7  # of a step, for a weight and a position, as was measured with transformers


def ask_about_home(root: Path) -> None:
    """Ask before a home folder, or one around it, is searched; without a terminal, say so."""
    real, home = root.resolve(), Path.home().resolve()
    if real != home and real not in home.parents:
        return
    text = f"{root} is more than a folder of music: all below it would be searched and used"
    if not (sys.stdin and sys.stdin.isatty()):
        log.warning("%s", text)
    elif input(f"{text}. Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was done: name the folder with the music")


def look_ahead(trainer: Trainer, model: LightningModule, data: LightningDataModule | None) -> None:
    """Say what would go wrong late: own parts, a home folder as music, too large a model here."""
    if isinstance(model, AudioModel):
        check_own_parts(model)
    if isinstance(data, MusicDataModule) and data.audio:
        ask_about_home(user_path(data.audio, "audio"))
    weights = trained_weights(model)
    if weights < LARGE or trainer.strategy.root_device.type != "cpu" or is_trial(trainer):
        return
    text = f"{type(model).__name__} has {million(weights)} weights, and there is no GPU"
    window = getattr(model, "token_window", None)
    if isinstance(data, MusicDataModule) and isinstance(window, TokenWindow):
        windows = data.global_batch or data.batch_size * trainer.accumulate_grad_batches
        flop = FLOPS * weights * window.length * windows
        seconds = flop / this_machine().gflops / 1e9
        text += f": a step of {windows} windows will take some {spoken(seconds)} on this machine"
    log.warning("%s. %s", text, HINT)
