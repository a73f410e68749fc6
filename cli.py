"""The command line: python cli.py COMMAND --help."""

import os
import sys

USAGE = """usage: python cli.py COMMAND [options]      (COMMAND --help lists its options)

  fit        train a model:        --config configs/sedd_absorb.yaml [--data.audio DIR]
  validate   its validation loss:  --config FILE --ckpt_path PATH
  test       the same as validate, on the test data
  predict    run Lightning's predict loop
  encode     turn a folder of music into tokens that training reads
  sample     generate audio from a checkpoint, or continue and repair a file
"""
TRAINER = ("fit", "validate", "test", "predict")


def main(args: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for a mistake in what was asked for."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    command = args[0]
    if command not in (*TRAINER, "encode", "sample"):
        return mistake(f"unknown command {command!r}: give one of fit, encode, sample, …", USAGE)
    try:
        run(command, args)
    except (ValueError, OSError) as error:
        if os.environ.get("MUSIC_TRACEBACK"):
            raise
        return mistake(str(error), "(MUSIC_TRACEBACK=1 shows where)")
    except KeyboardInterrupt:
        return 130
    return 0


def run(command: str, args: list[str]) -> None:
    """Import what the command needs, and no more, and call it."""
    if command in TRAINER:
        from commands.train import train

        train(args)
        return
    from jsonargparse import auto_cli

    if command == "encode":
        from commands.encode import encode as function
    else:
        from commands.sample import sample as function
    auto_cli(function, args=args[1:], prog=f"cli.py {command}")


def mistake(message: str, hint: str) -> int:
    print(f"error: {message}\n{hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
