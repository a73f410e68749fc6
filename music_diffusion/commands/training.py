"""fit, validate, test and predict: LightningCLI in subclass mode."""

import os
from pathlib import Path
from typing import ClassVar

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from callbacks.batch_seed import BatchSeed
from callbacks.demo import Demo
from callbacks.listening_page import ListeningPage
from callbacks.loop_counts import LoopCounts
from callbacks.nonfinite import NonFinite
from callbacks.optimizer_settings import OptimizerSettings
from callbacks.prepared import prepare_callbacks
from callbacks.resumed_states import ResumedStates
from callbacks.run_folder import RunFolder, local_folder
from callbacks.run_summary import RunSummary
from callbacks.termination import Termination
from foundation.audio_module import AudioModel
from foundation.errors import MissingFileError, UserError
from foundation.files import printable
from foundation.program import program
from foundation.weights import read_content
from music_diffusion.commands.arguments import with_configs_first
from music_diffusion.commands.changed_settings import tell_changes
from music_diffusion.commands.class_help import whole_names
from music_diffusion.commands.constructors import errors_of_constructors
from music_diffusion.commands.error_lines import usage_errors
from music_diffusion.commands.first_look import look_ahead
from music_diffusion.commands.runs import find_checkpoint, folder_of
from music_diffusion.commands.seeds import seed_of_processes
from music_diffusion.commands.trainer import RunTrainer
from music_diffusion.commands.wandb_settings import settle_wandb
from music_diffusion.provenance import WANDB_ID, Provenance

ABOUT = """A model and data come from configs, files or ours by name: --config sedd_absorb; later
ones and options change earlier ones. A run's folder is runs/NAME with --name NAME, and runs/TIME
without; --ckpt_path resumes in the folder of the checkpoint: last and best are those of --name, or
of the newest run. The options of the model and the data:
--model.help sedd.module.SEDD, jbdiff.module.JBDiff, jbdiff.dance_module.Dance or
codec.vqvae_module.VQVAEModule; --data.help datamodules.token_data.TokenDataModule or
datamodules.wav.WavDataModule."""

ALWAYS = (
    *(ResumedStates, BatchSeed, Termination, Provenance, ListeningPage, OptimizerSettings),
    *(RunSummary, LoopCounts),
)
CHECKPOINT_PARTS = {  # of Lightning's
    "state_dict": dict,
    "loops": dict,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
NEEDED = ("state_dict", "loops", "epoch", "global_step", "pytorch-lightning_version")
LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")


class SettingsParser(LightningArgumentParser):
    """Writes settings without the dozens of nulls of a logger."""

    def dump(self, cfg: Namespace, **kwargs) -> str:
        return super().dump(without_nulls(cfg), **kwargs)


def without_nulls(config: Namespace) -> Namespace:
    """Return settings in which loggers have the options alone that have a value."""
    config = config.clone()
    found = config.get("trainer.logger")
    for logger in found if isinstance(found, list) else [found]:
        options = logger.get("init_args") if isinstance(logger, Namespace) else None
        empty = [] if options is None else [name for name, x in vars(options).items() if x is None]
        for name in empty:
            delattr(options, name)
    return config


class CommandLine(LightningCLI):
    command: ClassVar[str]
    quiet: ClassVar[bool] = False

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """Leave out the parsers of other commands, which take a second to build."""
        return {cls.command: LightningCLI.subcommands()[cls.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, help="the run's folder is runs/NAME")
        parser.add_lightning_class_args(NonFinite, "nonfinite")

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Parse, and look at the checkpoint before music is encoded; its settings replace none."""
        with usage_errors(args[0]), whole_names(args):
            self.config = parser.parse_args(args)
        config = self.config[self.config.subcommand]
        if type(config.seed_everything) is int:
            config.seed_everything = seed_of_processes(config.seed_everything)
        self.save_config_kwargs["given"] = config.clone()
        root, self.resumed, self.content = config.trainer.default_root_dir, None, {}
        if config.ckpt_path:
            self.resumed = find_checkpoint(config.ckpt_path, config.name, root)
            if self.resumed != "hpc":
                self.content = check_resumable(self.resumed, config.model)
                options = config.model.get("init_args") or Namespace()
                tell_changes(self.content.get("hyper_parameters", {}), options.as_dict())
        elif self.config.subcommand != "fit":
            print(f"{self.config.subcommand}: no --ckpt_path, this is the model before training")
        config.trainer.default_root_dir = folder_of(config.name, root, self.resumed)
        config.ckpt_path = None  # Lightning would put the checkpoint's settings into ours

    def before_instantiate_classes(self) -> None:
        config = self.config[str(self.subcommand)]
        config.ckpt_path = self.resumed
        settle_wandb(config.trainer, self.content.get(WANDB_ID))

    def instantiate_classes(self) -> None:
        with errors_of_constructors():
            super().instantiate_classes()
        prepare_callbacks(self.trainer)
        if self.content and isinstance(self.model, AudioModel):
            self.model.settle(self.content, str(self.resumed))

    def before_predict(self) -> None:
        if not any(isinstance(one, Demo) for one in self.trainer.callbacks):  # type: ignore[attr-defined]
            print("predict: nothing will be written, for no callbacks.demo.Demo is in the config")

    def before_fit(self) -> None:
        look_ahead(self.trainer, self.model, self.datamodule)
        run = RunFolder(self.resumed)
        if rank_zero_only.rank == 0 and (folder := local_folder(self.trainer)):
            run.take(folder)
        self.trainer.callbacks.insert(0, run)  # type: ignore[attr-defined]

    def after_fit(self) -> None:
        if not self.quiet:
            tell_end(self.trainer, self.content.get("global_step"))


def tell_end(trainer: Trainer, first: int | None = None) -> None:
    """Say how far a training came from its `first` step, and where its checkpoints are."""
    if rank_zero_only.rank == 0 and local_folder(trainer):
        print(f"at step {trainer.global_step}; {where_saved(trainer)}")
        if trainer.global_step == first:
            print("nothing was left to train: max_steps and max_time count from the first run")


def where_saved(trainer: Trainer) -> str:
    """Say where the checkpoints of a run are: the config's callbacks write them, or Lightning's."""
    folders = set()
    for callback in trainer.checkpoint_callbacks:
        folder = getattr(callback, "folder", None) or getattr(callback, "dirpath", None)
        if folder and any(Path(folder).glob("*.ckpt")):
            folders.add(os.path.relpath(folder))
    if not folders:
        idle = trainer.checkpoint_callbacks and not trainer.global_step
        reason = "no step was made" if idle else "there is no callbacks.checkpoint.StepCheckpoint"
        return f"no checkpoint is saved: {reason}"
    return f"checkpoints are in {' and '.join(sorted(folders))}"


class RunConfig(SaveConfigCallback):
    """Write the run's config.yaml when training starts; other commands leave it alone.

    It holds the settings as they were given, without the run's folder and the checkpoint that was
    resumed: given again, it starts a new run.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Namespace, given: Namespace, **kwargs
    ):
        super().__init__(parser, given, **kwargs)
        given.seed_everything = config.seed_everything  # a number by now
        given.ckpt_path = given.name = given.trainer.default_root_dir = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pass

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and (folder := local_folder(trainer)):
            folder.mkdir(parents=True, exist_ok=True)
            path = str(folder / "config.yaml")
            self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=False)


def train(command: str, args: list[str], quiet: bool = False) -> CommandLine:
    """Run one of Lightning's commands; UserError for a mistake in what was asked for.

    If `quiet`, nothing is said of how it ended.
    """
    options = {"exit_on_error": False, "description": ABOUT}
    for arg in args:
        if (text := printable(arg)) != arg:
            raise UserError(f"{text} isn't UTF-8: rename it, or give the folder above it")
    made = type("CommandLine", (CommandLine,), {"command": command, "quiet": quiet})
    try:
        return made(
            LightningModule,
            LightningDataModule,
            trainer_class=RunTrainer,
            parser_class=SettingsParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_callback=RunConfig,
            trainer_defaults={
                "use_distributed_sampler": False,  # ours give each process its share already
                "callbacks": [kind() for kind in ALWAYS],
            },
            parser_kwargs={
                **{"prog": program(), "exit_on_error": False, "allow_abbrev": False},
                command: options,
            },
            args=[command, *with_configs_first(args)],
        )
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        if "no HPC checkpoint was found" not in str(error):
            raise
        message = (
            "--ckpt_path hpc: no cluster's job has saved in here: give the path of a checkpoint"
        )
        raise MissingFileError(message) from error


def check_resumable(path: str, model: Namespace) -> dict:
    """Return what a checkpoint of fit holds; UserError unless it's of the model of these settings.

    Tensors stay in the file until they are used.
    """
    file = Path(path)
    if not file.exists():
        raise MissingFileError(f"no checkpoint at {file}")
    if file.is_dir():
        raise UserError(f"{file} is a folder: --ckpt_path takes a file, such as last.ckpt")
    content = read_content(file, in_place=True)
    if "loops" not in content:
        raise UserError(
            f"{file} is no checkpoint of fit but weights alone: start from them with "
            f"--model.init_from {file}"
        )
    theirs = content.get("hyper_parameters", {})
    level = model.get("init_args.jb_level")
    for what, name, ours in (
        ("model", "_class_path", model.class_path),
        ("level", "jb_level", level),
    ):
        if theirs.get(name, ours) != ours:
            raise UserError(
                f"{file} is of {what} {theirs[name]}, the config's is {ours}: give the --config "
                "files and options that it was made with"
            )
    check_parts(content, file)
    return content


def check_parts(content: dict, file: Path) -> None:
    """Raise UserError for a checkpoint that Lightning couldn't restore a run from."""
    for name, kind in CHECKPOINT_PARTS.items():
        if not isinstance(content.get(name, None if name in NEEDED else kind()), kind):
            raise UserError(f"{file} is damaged: it has no {name} of a run; resume an earlier one")
    for name in LOOPS:
        if not isinstance(content["loops"].get(name), dict):
            raise UserError(f"{file} is damaged: its loops have no {name}; resume an earlier one")
