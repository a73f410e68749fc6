"""Options of the command line that come before all others: the files of settings."""

import argparse
import json
import re
import sys
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from foundation.checks import check_not_empty, refuse_address
from foundation.errors import MissingFileError, UserError
from foundation.files import user_path
from music_diffusion.checkpoints.legacy import upgrade_config
from music_diffusion.checkpoints.named_classes import trust
from music_diffusion.commands.class_settings import argument_in_init_args, in_init_args
from music_diffusion.commands.yaml_file import read_yaml

MAY_BE_EMPTY = ("--levels", "--cond.")  # a song of no level, metadata such as a root's folder


def with_configs_first(args: list[str]) -> list[str]:
    """Put --config FILE and --model CLASS before the options that change them.

    A config is a file, or the name of one of ours: `--config sedd_absorb`. configs/jbdiff.yaml is
    the one where a level is given and neither a config nor a model. The folders of the configs,
    and the current one, become importable, after everything else. Checkpoints may name the classes
    of the modules of --trust MODULE.
    """
    known, rest = first_options(args)
    configs = [find_config(name) for name in known.config]
    if known.level and not configs and not known.model:
        configs = [find_config("jbdiff")]
    make_importable(configs)
    for module in known.trust:
        trust(module)
    first = [part for path in configs for part in ("--config", settings_in(path))]
    first += ["--model", known.model] if known.model else []
    first += ["--model.jb_level", known.level] if known.level else []
    rest = [argument_in_init_args(arg) for arg in rest]
    return first + network_of(known.level, configs, rest) + rest


def make_importable(configs: list[Path]) -> None:
    """Let classes be found in the current folder and in those of the configs, after all others."""
    for folder in (Path.cwd(), *(path.absolute().parent for path in configs)):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


def check_early(args: list[str]) -> None:
    """Raise UserError for empty values and missing configs, before seconds of imports pass.

    From then on the source of a user's own classes is found.
    """
    make_importable([find_config(name) for name in first_options(args)[0].config])


def first_options(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Take the options that come first out of the others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    parser.add_argument("--trust", action="append", default=[])
    parser.add_argument("--model")
    parser.add_argument("--model.jb_level", dest="level")
    try:
        return parser.parse_known_args(plain_values(args))
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error


def network_of(level: str | None, configs: list[Path], rest: list[str]) -> list[str]:
    """Name the network of a level where only options of it are given: its default isn't a class."""
    named = any(arg == "--model.net" or arg.startswith("--model.net=") for arg in rest)
    dotted = any(arg.startswith("--model.net.") for arg in rest)
    if named or not dotted or not level or {path.stem for path in configs} != {"jbdiff"}:
        return []
    from jbdiff.levels import COARSEST  # it takes a second to import

    three = level == str(COARSEST)
    return ["--model.net", "jbdiff.latent_transformer.LatentDiT" if three else "jbdiff.unet.UNet"]


def plain_values(args: list[str]) -> list[str]:
    """Return arguments with ~ expanded after =, where shells leave it: --data.audio=~/music.

    UserError for an option's empty value, which an unset variable leaves: --data.audio "$MUSIC".
    """
    for before, arg in zip(["", *args], args, strict=False):
        option, given, value = arg.partition("=")
        if not arg and before.startswith("--") and "=" not in before:
            option, given = before, "="
        if given and not value and option.startswith("--") and not option.startswith(MAY_BE_EMPTY):
            check_not_empty(**{option: ""})
    return [re.sub(r"^(--[\w.+]+=)~(?=/|$)", home_after, arg) for arg in args]


def home_after(option: re.Match) -> str:
    return f"{option[1]}{user_path('~', option[1])}"


def find_config(name: str) -> Path:
    """Find a file of settings: as it is named, or among those that come with the program."""
    if (path := user_path(name, "--config")).is_file():
        return path
    ours = Path(str(files("configs")))
    if path.parent in (Path(), Path("configs")) and (ours / f"{path.stem}.yaml").is_file():
        return ours / f"{path.stem}.yaml"
    refuse_address(f"--config {name}", name)
    names = sorted(file.stem for file in ours.glob("*.yaml"))
    near = get_close_matches(path.stem, names, 1)
    if path.exists():
        kind = "a folder" if path.is_dir() else "no plain file, and is read more than once"
        raise UserError(f"--config {name} is {kind}: give a file")
    hint = f" (did you mean {near[0]}?)" if near else ""
    known = ", ".join(names)
    raise MissingFileError(f"there is no config {name}{hint}: give a file, or one of ours: {known}")


def settings_in(path: Path) -> str:
    """Return the path of a file of settings, or the settings as text where they need a change.

    Names of earlier versions become today's, a class's options beside its class_path its init_args,
    and of the file beside a sample its settings count.
    """
    content = read_yaml(path)
    check_not_empty(**{f"{path}: {name}": content.get(name) for name in ("ckpt_path", "name")})
    settings = content["settings"] if content.keys() >= {"settings", "made"} else content
    settings = {name: in_init_args(value) for name, value in settings.items()}
    if "levels" in settings:
        from jbdiff.song_migration import converted  # it takes a second to import

        settings = converted(settings)
    else:
        settings = upgrade_config(settings)
    return str(path) if settings == content else json.dumps(settings)
