"""What something was made with: written into checkpoints, exports and beside samples."""

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from callbacks.run_folder import local_folder
from foundation.files import write_json
from foundation.settings import as_settings, class_path
from music_diffusion.checkpoints.named_classes import trust_named
from music_diffusion.version import commit, version

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
KEY, WANDB_ID = "provenance", "wandb_id"  # in a checkpoint


def seed_of_run() -> int | None:
    """Return what Lightning's seed_everything was given."""
    seed = os.environ.get("PL_GLOBAL_SEED")
    return int(seed) if seed else None


def made_now() -> dict[str, str]:
    """Return this code's version and commit, the command, and the time."""
    time = datetime.now(timezone.utc).isoformat(timespec="seconds")
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"version": version(), "commit": commit(), "command": command, "time": time}


class Provenance(Callback):
    """Write into each checkpoint what it is made with, as `provenance`, and into provenance.json.

    Version and commit, command, seed, the codec's fingerprint and, where the data module describes
    it, the music: its folder, tracks, hours, hash and licence.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and (folder := local_folder(trainer)):
            write_json(folder / f"{KEY}.json", made_with(trainer, pl_module))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        checkpoint[KEY] = made_with(trainer, pl_module)
        make_plain(checkpoint, pl_module)
        with suppress(OSError):  # a cache that can't be written: sample will ask for --trust
            trust_named(checkpoint.get("hyper_parameters"))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                checkpoint[WANDB_ID] = logger.version


def made_with(trainer: Trainer, module: LightningModule) -> dict[str, object]:
    """Return what a training's model is made with."""
    content: dict[str, object] = {**made_now(), "seed": seed_of_run()}
    if codec := getattr(module, "codec", None):
        content["codec"] = codec.fingerprint
    if describe := getattr(trainer.datamodule, "describe", None):  # type: ignore[attr-defined]
        content["data"] = describe()
    return content


class PlainSettings(Callback):
    """Give loggers the settings of a model made from objects as plain values, if they can be.

    Lightning would give them the objects, of which TensorBoard's writes a codec's weights as YAML.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.save_hyperparameters({}, logger=False)
        if (plain := plain_settings(pl_module.hparams)) is not None:
            for logger in trainer.loggers:
                logger.log_hyperparams(plain)


def make_plain(checkpoint: dict, module: LightningModule) -> None:
    """Turn the settings of a model that was made from objects into plain values.

    Then `load` rebuilds it as it does one of the command line. Settings with a codec or a network
    that is an object can't be: the checkpoint is of weights alone, for `load_weights`.
    """
    settings = checkpoint.get("hyper_parameters", {})
    if "_class_path" in settings or not settings:
        return
    plain = plain_settings(settings)
    made = {} if plain is None else {"_class_path": class_path(type(module)), **plain}
    checkpoint["hyper_parameters"] = made | ({"_instantiator": INSTANTIATOR} if made else {})


def plain_settings(settings: Mapping) -> dict | None:
    """Return settings as plain values; None where one is an object without such a form."""
    try:
        plain = as_settings(dict(settings))
    except TypeError:
        return None
    assert isinstance(plain, dict)
    return plain
