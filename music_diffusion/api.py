"""What Python calls and the command line has no command of its own for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from callbacks.checkpoint import BestCheckpoint, StepCheckpoint
from callbacks.ema import EMA
from callbacks.nonfinite import NonFinite
from callbacks.prepared import prepare_callbacks
from callbacks.run_folder import RunFolder, local_folder
from codec.jukebox import JukeboxCodec
from datamodules.header import Header
from datamodules.remote_store import open_store
from datamodules.token_store import TokenStore
from foundation.audio_module import AudioModel
from foundation.codec import Codec, check_codec
from foundation.errors import UserError
from foundation.weights import read_content
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands.logging import events_shown
from music_diffusion.commands.runs import find_checkpoint, folder_of
from music_diffusion.commands.trainer import RunTrainer
from music_diffusion.commands.training import ALWAYS, check_parts, tell_end, train
from music_diffusion.own_parts import check_own_parts
from music_diffusion.provenance import PlainSettings

PROGRESS = "trainer.enable_progress_bar"


def generate(
    model: str | Path | AudioModel, seconds: float | None = None, **options: Any
) -> Tensor:
    """Generate audio [count, C, T] in [-1, 1] at the model's sample rate.

    Args:
        model: a model, or what `load` takes
        seconds: length of what is generated; the default is the model's
        options: those of `AudioModel.generate`: count, prompt, keep, init, cond, sampler, seed …

    Raises:
        UserError: for a file that is no model, and for what the model can't do
    """
    loaded = model if isinstance(model, AudioModel) else load_model(model)
    return loaded.generate(seconds, **options)


@overload
def decode(tokens: Tensor, codec: Codec | None = None, level: int = 2) -> Tensor: ...


@overload
def decode(
    tokens: str | Path, codec: Codec | None = None, level: int = 2
) -> Iterator[tuple[str, Tensor]]: ...


def decode(
    tokens: Tensor | str | Path, codec: Codec | None = None, level: int = 2
) -> Tensor | Iterator[tuple[str, Tensor]]:
    """Decode tokens [B, K, L] to audio [B, C, T], or a token store to names and audio [C, T].

    Args:
        tokens: tokens, or the folder, or the address, of a token store that `encode` made
        codec: what made the tokens; the default is Jukebox's codec
        level: of Jukebox's codec: 2 (coarsest), 1 or 0

    Raises:
        UserError: for tokens that this codec didn't make
    """
    codec = JukeboxCodec(level) if codec is None else codec
    check_codec(codec)
    if isinstance(tokens, Tensor):
        codec.check_tokens(tokens)
        with torch.inference_mode():
            return codec.check_decoded(codec.decode(tokens), tokens)
    store = open_store(tokens)
    store.check(Header.of(codec, ("tokens",)))
    return _decoded(store, codec)


@torch.inference_mode()
def _decoded(store: TokenStore, codec: Codec) -> Iterator[tuple[str, Tensor]]:
    for row in range(len(store)):
        tokens = store.read(row, "tokens")
        audio = codec.check_decoded(codec.decode(tokens[None]), tokens[None])
        yield store.track(row).source, audio[0]


def fit(
    config: str | Path | Sequence[str | Path] | LightningModule,
    data: LightningDataModule | None = None,
    *,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    ckpt_path: str | None = None,
    quiet: bool = False,
) -> LightningModule:
    """Train a model and return it, with its averaged weights; its `trainer` knows the rest.

    It prints what the command line does, unless this program logs our packages at INFO itself.

        md.fit(["sedd_absorb", "tiny"], options={"data.audio": "music", "trainer.max_steps": 500})
        md.fit(SEDD(length=256), TokenDataModule("music"), options={"max_steps": 500})

    Args:
        config: one or more configs, each a file or the name of ours; or a model
        data: the data of a model that is given as an object
        options: as on the command line, by name; with a model, options of Lightning's Trainer,
            where `callbacks` replaces EMA, StepCheckpoint and BestCheckpoint
        name: the run's folder is runs/NAME; the default is named by the time
        ckpt_path: a checkpoint to resume, `last` or `best`
        quiet: show no progress, only warnings

    Raises:
        UserError: for settings that don't fit, and music that can't be read
    """
    bar = "enable_progress_bar" if isinstance(config, LightningModule) else PROGRESS
    chosen = ({bar: False} if quiet else {}) | dict(options or {})
    if isinstance(config, LightningModule):
        with events_shown(not quiet):
            model = _fit_objects(config, data, chosen, name, ckpt_path)
        if not quiet:
            tell_end(model.trainer)
        return model
    if data is not None:
        raise UserError("data goes with a model; configs name their data themselves")
    configs = [config] if isinstance(config, (str, Path)) else config
    args = [part for one in configs for part in ("--config", str(one))]
    for key, value in chosen.items():
        text = str(value) if isinstance(value, (str, Path)) else json.dumps(value)
        args.append(f"--{key}={text}")
    for key, value in (("name", name), ("ckpt_path", ckpt_path)):
        args += [f"--{key}", value] if value is not None else []
    with events_shown(not quiet):
        return train("fit", args, quiet).model


def _fit_objects(
    model: LightningModule,
    data: LightningDataModule | None,
    options: dict,
    name: str | None,
    ckpt_path: str | None,
) -> LightningModule:
    if data is None and type(model).train_dataloader is LightningModule.train_dataloader:
        raise UserError("data is missing: md.fit(model, TokenDataModule('music'))")
    root = options.get("default_root_dir")
    if isinstance(model, AudioModel):
        check_own_parts(model)
    resumed = None if ckpt_path is None else find_checkpoint(ckpt_path, name, root)
    if resumed:
        content = read_content(resumed, in_place=True)
        check_parts(content, Path(resumed))
        if isinstance(model, AudioModel):
            model.settle(content, resumed)
    run = RunFolder(resumed)
    callbacks = options.get("callbacks", [EMA(), StepCheckpoint(), BestCheckpoint()])
    watch = [] if any(isinstance(one, NonFinite) for one in callbacks) else [NonFinite()]
    options |= {
        "default_root_dir": folder_of(name, root, resumed),
        "callbacks": [run, *callbacks, *watch, *(kind() for kind in ALWAYS), PlainSettings()],
        "use_distributed_sampler": False,  # our data modules give each process its share already
    }
    trainer = RunTrainer(**options)
    prepare_callbacks(trainer)
    if trainer.is_global_zero and (folder := local_folder(trainer)):
        run.take(folder)
    trainer.fit(model, datamodule=data, ckpt_path=resumed)
    return model
