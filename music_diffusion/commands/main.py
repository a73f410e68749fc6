"""The command line: COMMAND --help lists the options of one."""

import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module

from foundation.errors import TERMINATED
from foundation.program import program
from music_diffusion.commands.error_lines import interrupted
from music_diffusion.commands.logging import report_events
from music_diffusion.commands.shown_errors import show

# Waiting threads sleep: where they spin, as is the default, another busy program slows torch many
# times over. Set before torch is imported; on an idle machine it costs a few percent of training.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

USAGE = """usage: {program} COMMAND [options]      (COMMAND --help lists its options)

  data       what a folder of music holds, and how to train on it here: DIR
  fit        train a model:        --config sedd_absorb [--data.audio DIR] [--name NAME]
  validate   measure a checkpoint: --config sedd_absorb --ckpt_path last
  test       the same, Lightning's test loop
  predict    run Lightning's predict loop
  encode     turn a folder of music into tokens that training reads
  convert    a token store of an earlier version to the present form
  export     a checkpoint's averaged weights and settings alone, for sample and for init_from
  sample     generate audio from a checkpoint, or continue and repair a file
  sample jbdiff    make a song with a model of each level: --config song
  fad        compare music with music: Frechet and kernel audio distance, REFERENCE GENERATED
  report     is it music, how far from real music, is it copied: RUN_OR_DIR --reference DIR
  page       a page to hear a folder of audio, or compare folders, in a browser: DIR [DIR ...]
  studio     make, hear, repair and compare music in a browser (extra `ui`)
  download   published weights: lists them, or gets those named
  quickstart music by the base model, fine-tuned to built-in or your music [--audio DIR]

  --trust MODULE   with a command: a checkpoint may name classes of this module of yours; those
             that a training named here are known
  --version  the version and commit of this program

MUSIC_TRACEBACK=1 in the environment shows where in the code an error comes from.
"""
TRAINER = ("fit", "validate", "test", "predict")
COMMANDS = (*TRAINER, "encode", "convert", "export", "sample", "fad", "report", "page")
COMMANDS += ("data", "studio", "quickstart", "download")


def main(args: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for a mistake in what was asked for."""
    command, *options = (sys.argv[1:] if args is None else args) or [""]
    if command in ("", "-h", "--help"):
        print(usage())
        return 0 if command else 2
    if command == "--version":
        from music_diffusion.version import commit, version

        print(f"music-diffusion {version()} (commit {commit()})")
        return 0
    if command not in COMMANDS:
        near = "".join(
            f": did you mean {name}?" for name in get_close_matches(command, COMMANDS, 1)
        )
        print(f"error: unknown command {command!r}{near}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        report_events()
        signal.signal(signal.SIGTERM, terminate)  # until training starts
        run(command, options)
    except BaseException as error:
        if interrupted(error):
            exit_undisturbed()
            print("stopped", file=sys.stderr)
            return 130
        if not isinstance(error, Exception):
            if getattr(error, "code", None) == TERMINATED:
                exit_undisturbed()
            raise
        return report(error)
    return 0


def usage() -> str:
    return USAGE.format(program=program())


def report(error: Exception) -> int:
    """Print what was wrong, in a line if it was a user's mistake; return the exit status."""
    if (status := show(error)) is None:
        raise error
    return status


def exit_undisturbed() -> None:
    """Ignore Ctrl-C and SIGTERM from now on: one more would break what Python does at its exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def terminate(*_: object) -> None:
    exit_undisturbed()
    os.write(2, b"stopped\n")
    sys.exit(TERMINATED)


def run(command: str, args: list[str]) -> None:
    """Parse a command's options and call its function, whose imports may take seconds."""
    if command == "download":
        from music_diffusion.downloads.fetch import main as download

        sys.exit(download(args))
    from music_diffusion.commands.before_import import prepared

    if (ready := prepared(command, args)) is None:
        return
    if command in TRAINER:
        from music_diffusion.commands.training import train

        train(command, ready)
    else:
        import_module(f"music_diffusion.commands.{command}").run(ready)
