"""fit, validate, test and predict: LightningCLI in subclass mode, with what users expect around it.

A model and data come from --config, and each run has its folder, `default_root_dir`, to itself.
"""

import os
import sys
from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_only

from callbacks.batch_seed import BatchSeed
from callbacks.progress import ResumedBar
from callbacks.run_folder import RunFolder, place_of
from callbacks.termination import Termination
from foundation.weights import read_content

ROOT = Path(__file__).parents[2]
SHARES = (  # whole numbers of batches, or a share of all
    *(f"limit_{loop}_batches" for loop in ("train", "val", "test", "predict")),
    *("overfit_batches", "val_check_interval"),
)
CLASSES = """The configs in configs/ say what the model and the data are. Their options:

  python cli.py fit --model.help sedd.module.SEDD
                    --model.help jbdiff.module.JBDiff
                    --model.help jbdiff.dance_module.Dance
                    --model.help codec.vqvae_module.VQVAEModule
                    --data.help datamodules.token_data.TokenDataModule
                    --data.help datamodules.wav.WavDataModule

To go on with a run: --ckpt_path last, or a file. Lightning's own options:
"""


class CommandLine(LightningCLI):
    def _parse_ckpt_path(self) -> None:
        """Look at the checkpoint before music is encoded; its settings replace none."""
        config = self.config[self.config.subcommand]
        if config.ckpt_path == "best":  # which Lightning knows only within the run that made it
            folder = config.trainer.default_root_dir
            config.ckpt_path = str(Path(folder, "checkpoints", "best.ckpt"))
        path = config.ckpt_path
        if path and "://" not in path and path not in ("last", "hpc"):
            check_resumable(path, config.model)

    def before_instantiate_classes(self) -> None:
        """Keep whole numbers of batches; let wandb keep its files in the run's folder, too."""
        trainer = self._get(self.config, "trainer")
        for name, count in counts(sys.argv[1:]).items():
            trainer[name] = count
        loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
        for logger in loggers:
            if logger and logger is not True and logger.class_path.endswith("WandbLogger"):
                go_offline_without_account()
                if logger.init_args.save_dir == ".":
                    logger.init_args.save_dir = trainer.default_root_dir

    def before_fit(self) -> None:
        self.run_folder = RunFolder(self._get(self.config, "ckpt_path"))
        if rank_zero_only.rank == 0 and (root := place_of(self.trainer)):
            self.run_folder.take(root)
        self.trainer.callbacks.insert(0, self.run_folder)

    def after_fit(self) -> None:
        """Say how far it is and where things are; training that had nothing to do says no more."""
        if rank_zero_only.rank == 0 and (root := place_of(self.trainer)):
            step, folder = self.trainer.global_step, os.path.relpath(root)
            print(f"at step {step}; checkpoints are in {folder}/checkpoints")
            if not self.run_folder.trained:
                print("nothing was left to train: max_steps and max_time count from the first run")


class RunConfig(SaveConfigCallback):
    """Write config.yaml when training starts: other commands and refused ones leave it alone."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pass

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")


def train(args: list[str]) -> None:
    """Run one of Lightning's commands, args[0]; raise ValueError or OSError for a mistake."""
    args = arranged(args)
    names = {arg.split("=")[0] for arg in args}
    if {"-h", "--help"} & names:
        print(CLASSES)
    elif not {"--print_config", "--model.help", "--data.help"} & names:
        if not {"--config", "--model"} & names:
            raise ValueError(f"{args[0]} needs a model: give --config configs/sedd_absorb.yaml")
        if args[0] != "fit" and "--ckpt_path" not in names:
            print(f"{args[0]}: no --ckpt_path given, this is the model before any training")
    sys.argv[1:] = args  # where LightningCLI looks, also on the processes that DDP starts
    try:
        CommandLine(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True},
            # our samplers already give each process its share
            trainer_defaults={
                "use_distributed_sampler": False,
                "default_root_dir": "runs",
                "callbacks": [BatchSeed(), ResumedBar(), Termination()],
            },
            parser_kwargs={"exit_on_error": False}
            | dict.fromkeys(LightningCLI.subcommands(), {"exit_on_error": False}),
        )
    except MisconfigurationException as error:  # no such accelerator, devices or strategy
        raise ValueError(str(error)) from error


def counts(args: list[str]) -> dict[str, int]:
    """Find the trainer's settings where 1 was written: one batch, which the parser makes 1.0, all.

    What comes later counts, as it does for the parser.
    """
    found: dict[str, object] = {}
    for arg, after in zip(args, [*args[1:], ""], strict=True):
        name, _, value = arg.partition("=")
        value = value or after
        if name in ("--config", "-c") and Path(value).is_file():
            settings = yaml.safe_load(Path(value).read_text()).get("trainer") or {}
            found |= {name: settings[name] for name in SHARES if name in settings}
        elif name.removeprefix("--trainer.") in SHARES:
            found[name.removeprefix("--trainer.")] = 1 if value == "1" else None
    return {name: 1 for name, value in found.items() if type(value) is int and value == 1}


def check_resumable(path: str, model: Namespace) -> None:
    """Raise unless a path is that of a checkpoint of fit, of the model of these settings."""
    file = Path(path).expanduser()
    if not file.exists():
        raise FileNotFoundError(f"no checkpoint at {file}")
    if file.is_dir():
        raise ValueError(f"{file} is a folder: --ckpt_path takes a file, such as last.ckpt")
    content = read_content(file, in_place=True)
    if "loops" not in content:
        raise ValueError(
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
            raise ValueError(
                f"{file} is of {what} {theirs[name]}, the config's is {ours}: give the --config "
                "files and options that it was made with"
            )


def arranged(args: list[str]) -> list[str]:
    """Put --config FILE before the options that change it, wherever it stands.

    configs/jbdiff.yaml is the config where a level is given and neither a config nor a model.
    """
    configs, options, rest = [], [], iter(args[1:])
    for arg in rest:
        name, _, value = arg.partition("=")
        if name in ("--config", "-c"):
            configs += ["--config", value or next(rest, "")]
        else:
            options.append(arg)
    names = {option.split("=")[0] for option in options}
    if not configs and "--model" not in names and "--model.jb_level" in names:
        configs = ["--config", str(ROOT / "configs" / "jbdiff.yaml")]
    return [args[0], *configs, *options]


def go_offline_without_account() -> None:
    """Keep wandb from asking for an account: without one, runs are kept on disk."""
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    known = os.environ.get("WANDB_API_KEY") or (
        netrc.is_file() and "wandb" in netrc.read_text(errors="ignore")
    )
    if not known and "WANDB_MODE" not in os.environ:
        os.environ["WANDB_MODE"] = "offline"
        print("wandb: no account found, its logs stay on this machine (wandb login, wandb sync)")
