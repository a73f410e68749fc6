"""The command line: python cli.py COMMAND --help."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from music_diffusion.commands.messages import above_bars, check_configs, explain, report_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jsonargparse import ArgumentParser
    from lightning.pytorch import LightningModule
    from torch import Tensor

    from foundation.codec import Codec

# Waiting threads sleep: where they spin, as is the default, another busy program slows torch many
# times over. Set before torch is imported; on an idle machine it costs a few percent of training.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

USAGE = """usage: python cli.py COMMAND [options]      (COMMAND --help lists its options)

  fit        train a model:        --config configs/sedd_absorb.yaml [--data.audio DIR]
  validate   measure a checkpoint: --config FILE --ckpt_path PATH
  test       the same, Lightning's test loop
  predict    run Lightning's predict loop
  encode     turn a folder of music into tokens that training reads
  export     a checkpoint's averaged weights and settings alone, for sample and for init_from
  sample     generate audio from a checkpoint, or continue and repair a file
  sample jbdiff    make a song with a model of each level: --config configs/song.yaml
  sample dance     generate audio with Dance Diffusion alone
  fad        compare music with music: Frechet and kernel audio distance, REFERENCE GENERATED

MUSIC_TRACEBACK=1 in the environment shows where in the code an error comes from.
"""
TRAINER = ("fit", "validate", "test", "predict")
COMMANDS = (*TRAINER, "encode", "export", "sample", "fad", "quickstart")


def main(args: list[str] | None = None) -> int:
    """Run one command; return the exit status: 2 for a mistake in what was asked for."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    command = args[0]
    if command not in COMMANDS:
        print(f"error: unknown command {command!r}\n{USAGE}", file=sys.stderr)
        return 2
    report_events()
    signal.signal(signal.SIGTERM, terminate)  # until training starts
    try:
        check_configs(args)
        run(command, args)
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning makes SystemExit of Ctrl-C
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        print("stopped", file=sys.stderr)
        return 130
    except Exception as error:
        told = explain(error, args)
        if told is None or os.environ.get("MUSIC_TRACEBACK"):
            raise
        message, status = told
        with above_bars(sys.stderr):
            print(f"error: {message}", file=sys.stderr)
        return status
    return 0


def terminate(*_: object) -> None:
    os.write(2, b"stopped\n")
    sys.exit(128 + signal.SIGTERM)


def run(command: str, args: list[str]) -> None:
    if command in TRAINER:
        from music_diffusion.commands.training import train

        return train(args)
    if command == "sample":
        return run_sample(args[1:])
    if command == "quickstart":
        from music_diffusion.commands.quickstart import quickstart

        return sys.exit(quickstart())
    if command == "fad":
        from music_diffusion.commands.fad import add_options, fad, print_score

        parser = option_parser("fad")
        add_options(parser)
        return print_score(fad(**parsed(parser, args[1:])))
    run_function(command, {"encode": encode, "export": export}[command], args[1:])


def run_sample(args: list[str]) -> None:
    """Sample from SEDD, or from what the first argument names."""
    if args[:1] == ["jbdiff"]:
        return sample_jbdiff(args[1:])
    given = {"load": load_module, "save": save_samples}
    if args[:1] == ["dance"]:
        from music_diffusion.commands.sample_dance import sample_dance

        return run_function("sample dance", sample_dance, args[1:], **given)
    from music_diffusion.commands.sample import sample

    run_function("sample", sample, args, **given)


def run_function(command: str, function: "Callable", args: list[str], **given: object) -> None:
    """Call a function with the options of the command line, and with what is given."""
    parser = option_parser(command)
    parser.add_function_arguments(function, skip=set(given), as_positional=True)
    function(**given, **parsed(parser, args))


def option_parser(command: str) -> "ArgumentParser":
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=f"cli.py {command}", exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="settings in YAML or JSON")
    return parser


def parsed(parser: "ArgumentParser", args: list[str]) -> dict[str, object]:
    """Give the options by name, classes among them as objects."""
    options = parser.instantiate(parser.parse_args(args)).as_dict()
    del options["config"]
    return options


def encode(
    audio: str,
    out: str | None = None,
    level: int = 2,
    codec_path: str | None = None,
    codec: "Codec | None" = None,
    accelerator: str = "auto",
    devices: str = "auto",
    num_nodes: int = 1,
    num_workers: int = 1,
) -> None:
    """Encode a folder of music to tokens; run it again to go on, or after files have changed.

    Args:
        audio: a folder, searched with all its folders, or one file
        out: the token store's folder; the default is the one that fit looks for
        level: the codec's level, 2 (coarsest), 1 or 0
        codec_path: OpenAI's vqvae.pth.tar or other weights of the codec
        codec: another codec, such as codec.wavtokenizer.WavTokenizer, with --codec.path FILE
        accelerator: Lightning's accelerator
        devices: how many devices share the work
        num_nodes: how many machines share the work
        num_workers: processes that read files, for each device
    """
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    from codec.jukebox import JukeboxCodec
    from datamodules.data_order import outlive_sigterm
    from datamodules.encode import EncodeModule, Job, Tracks

    if codec and codec_path:
        raise ValueError("codec_path is for Jukebox's codec: give --codec.path with --codec")
    codec = codec or JukeboxCodec(level, codec_path)
    job = Job.of(audio, codec, codec.stream_names, Path(out) if out else None)
    todo = job.todo
    print(f"{len(todo)} of {len(job.keys)} tracks to encode, into {job.store.folder}")
    if todo:
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=num_nodes,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
        loader = DataLoader(
            Tracks(todo, codec.sample_rate),
            batch_size=None,
            num_workers=num_workers,
            worker_init_fn=outlive_sigterm,
        )
        trainer.predict(EncodeModule(codec, job), loader, return_predictions=False)
    job.finish()
    print(f"{len(job.store.keys())} tracks of tokens in {job.store.folder}")


def export(checkpoint: str, out: str = "exported", bits: int = 32) -> None:
    """Write a checkpoint's averaged weights, settings and codec fingerprint to a folder.

    Args:
        checkpoint: a checkpoint of fit
        out: the folder that gets model.safetensors and config.json; sample takes it as a checkpoint
        bits: store weights in 32, 16 or 8 bits
    """
    from music_diffusion.checkpoints.export import export as write

    before, after = Path(checkpoint).expanduser(), write(checkpoint, out, bits)
    size = before.stat().st_size
    print(f"{after / 1e6:.2f} MB in {out}, {after / size:.0%} of the {size / 1e6:.2f} MB before")


def save_samples(out: str, made: "Iterable[Tensor]", sample_rate: int) -> None:
    """Write audio [C, T], one after another, and its spectrograms to a folder.

    They are numbered on from what lies there, which is kept.
    """
    from audio import files as audio
    from audio.spectrogram import write_spectrogram
    from foundation.files import output_folder

    folder = output_folder(out)
    written, number = [], 0
    for samples in made:
        while (path := folder / f"sample_{number}.wav").exists():
            number += 1
        audio.write(path, samples, sample_rate)
        write_spectrogram(path.with_suffix(".png"), samples, sample_rate)
        written.append(path.name)
    print(f"{', '.join(written)}, with spectrograms, in {out}")


def sample_jbdiff(args: list[str]) -> None:
    """Make a song: sample jbdiff --config configs/song.yaml, --help lists the options."""
    from audio.spectrogram import write_spectrogram
    from jbdiff.song_maker import make
    from jbdiff.song_settings import Song

    parser = option_parser("sample jbdiff")
    parser.add_class_arguments(Song)
    make(Song(**parsed(parser, args)), load_module, write_spectrogram)


def load_module(
    checkpoint: str,
    accelerator: str,
    published: "Callable[[Path], LightningModule] | None" = None,
) -> "LightningModule":
    """Rebuild a model from its checkpoint alone, on the accelerator's first device.

    `published` builds it around a file that holds weights and no settings.
    """
    from lightning.fabric import Fabric
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch import LightningModule

    import codec.vqvae_module  # noqa: F401
    import codec.wavtokenizer  # noqa: F401
    import jbdiff.dance_module  # noqa: F401 (only classes that are imported are made from a file)
    import jbdiff.module  # noqa: F401
    import sedd.module  # noqa: F401
    from foundation.settings import holds_settings
    from music_diffusion.checkpoints.export import as_checkpoint

    path = Path(checkpoint).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    exported = path.is_dir()
    source = as_checkpoint(path) if exported else path
    settings = exported or holds_settings(path)
    if not settings and not published:
        raise ValueError(
            f"{path} holds weights and no settings: sample takes a checkpoint of fit or the folder "
            "that export wrote"
        )
    try:
        device = Fabric(accelerator=accelerator, devices=1).device
    except (MisconfigurationException, RuntimeError) as error:
        raise ValueError(f"accelerator {accelerator}: {error}") from error
    if not settings:
        return published(path).to(device).eval()
    try:
        module = LightningModule.load_from_checkpoint(source, map_location="cpu")
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} doesn't fit the settings it holds: {error}") from error
    return module.to(device).eval()
