"""What `fit --help` prints: what most runs need, in one screen, without importing torch."""

from importlib.resources import files
from pathlib import Path

from foundation.program import program

SHOWN = """usage: {program} {command} --config NAME [--config NAME ...] [options]

{about} A config is a file or one of ours; later ones and options change
earlier ones.

  --config NAME              {names}
  --data.audio DIR           your music, a folder or a file; else built-in demo music
  --name NAME                the run's folder is runs/NAME; without it runs/TIME
  --ckpt_path last           resume the newest run, or that of --name; also best, or a file
  --model.init_from FILE     start from the weights of a checkpoint, an export, or base
  --model.jb_level 3         of Jukebox Diffusion; without a config it takes jbdiff
  --model.learning_rate X
  --data.batch_size N        windows in a batch; less takes less memory
  --data.num_workers N       processes that read music
  --data.val_fraction X      share of the tracks for validation, 0.1
  --trainer.max_steps N      --trainer.max_time 00:08:00:00 (days, hours, minutes, seconds)
  --trainer.accumulate_grad_batches N   batches in a step
  --trainer.val_check_interval N        batches from one validation, with demos, to the next
  --trainer.devices N        --trainer.precision 32-true, bf16-mixed ...
  --trainer.logger NAME      CSVLogger, TensorBoardLogger, WandbLogger; false for none
  --nonfinite.skip N         steps with a broken gradient that may be left out
  --seed_everything N        -1 takes a random seed and says which
  --print_config             show all settings, and stop

  --model.help, --data.help, --model.net.help ...   the options of what the configs name
  --help-all                 all options of Lightning's Trainer, and the other ways to say things

A laptop:   --config jbdiff --config level3_small --model.init_from base --data.audio DIR
            --config sedd_absorb --config tiny --data.audio DIR
A GPU:      --config sedd_absorb --data.audio DIR
Your music: {program} data DIR
            says what it holds and which of these to use."""
ABOUT = {
    "fit": "Train a model on music.",
    "validate": "Measure a checkpoint's loss on validation music.",
    "test": "Measure a checkpoint's loss, in Lightning's test loop.",
    "predict": "Generate a clip beside each segment of the validation music.",
}
INDENT = 29  # letters before what an option does
WIDTH = 66


def help_of_training(command: str) -> str:
    """Return the screen of fit, validate, test or predict."""
    return SHOWN.format(
        program=program(), command=command, about=ABOUT[command], names=config_names()
    )


def config_names() -> str:
    """List our configs, in lines that stand in the column of explanations."""
    lines, names = [""], sorted(file.stem for file in Path(str(files("configs"))).glob("*.yaml"))
    for name in names:
        if len(lines[-1]) + len(name) > WIDTH:
            lines.append("")
        lines[-1] += f"{name} "
    return ("\n" + " " * INDENT).join(line.strip() for line in lines)
