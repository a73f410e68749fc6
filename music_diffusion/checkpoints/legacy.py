"""Settings under the names of earlier versions: read as today's, with one line of notice."""

import logging
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)
SEDD, JBDIFF, DANCE = "sedd.module.SEDD", "jbdiff.module.JBDiff", "jbdiff.dance_module.Dance"
SUBS = "sedd.objective.Subs"
TOKENS, AUDIO = "datamodules.token_data.TokenDataModule", "datamodules.wav.WavDataModule"
# old sampler names, and which sampler demo_steps alone was of
SAMPLERS = {
    "analytic": "sedd.samplers.Analytic",
    "euler": "sedd.samplers.Euler",
    "first_hitting": "sedd.samplers.FirstHitting",
    "ddim": "jbdiff.samplers.DDIM",
    "dpm": "jbdiff.samplers.DPM",
    "iplms": "jbdiff.samplers.IPLMS",
}
DEMO_SAMPLER = {SEDD: "analytic", JBDIFF: "dpm", DANCE: "ddim"}
# options that have another name now, by the class they belong to
RENAMED: dict[str, dict[str, str]] = {
    JBDIFF: {"demo_guidance": "guidance"},
    TOKENS: {"crops_per_epoch": "windows_per_epoch", "val_crops": "val_windows"},
    AUDIO: {"crops_per_epoch": "windows_per_epoch", "val_crops": "val_windows"},
}
# classes that have moved
MOVED: dict[str, str] = {}
HINTS = {  # for the command line, which isn't rewritten
    "demo_steps": "--model.sampler.steps",
    "demo_sampler": "--model.sampler DPM or another class",
    "demo_guidance": "--model.guidance",
    "crops_per_epoch": "--data.windows_per_epoch",
    "val_crops": "--data.val_windows",
    "codec_path": "--codec.path",
    "normalise": "--model.objective sedd.objective.Subs",
}


def upgrade_options(class_path: str | None, options: Mapping) -> dict:
    """Return a class's options under today's names."""
    renamed = RENAMED.get(class_path or "", {})
    made = {renamed.get(name, name): value for name, value in options.items()}
    steps, name = made.pop("demo_steps", None), made.pop("demo_sampler", None)
    if class_path in DEMO_SAMPLER and "sampler" not in made and (steps or name):
        sampler = SAMPLERS[name or DEMO_SAMPLER[class_path]]
        made["sampler"] = {"class_path": sampler, "init_args": {"steps": steps} if steps else {}}
    elif class_path not in DEMO_SAMPLER:  # a user's own options may be called so
        made |= {k: options[k] for k in ("demo_steps", "demo_sampler") if k in options}
    return _objective_of_normalised(made)


def _objective_of_normalised(options: dict) -> dict:
    """Take DDiT's option `normalise` as the objective that it made of score entropy."""
    net = options.get("net")
    if not isinstance(net, Mapping) or not str(net.get("class_path")).endswith("DDiT"):
        return options
    inner = net.get("init_args") or {}
    if "normalise" not in inner:
        return options
    rest = {name: value for name, value in inner.items() if name != "normalise"}
    made = options | {"net": {**net, "init_args": rest}}
    return made | ({"objective": {"class_path": SUBS}} if inner["normalise"] else {})


def upgrade_settings(settings: Mapping) -> dict:
    """Return the hyper-parameters of a checkpoint or export under today's names."""
    class_path = settings.get("_class_path")
    if class_path is None:
        return dict(settings)
    own = {name: value for name, value in settings.items() if name != "_class_path"}
    class_path = MOVED.get(class_path, class_path)
    made = {"_class_path": class_path, **upgrade_options(class_path, walk(own, _moved))}
    notice(settings, made)
    return made


def upgrade_config(config: Mapping) -> dict:
    """Return a file of settings of fit under today's names."""
    made = dict(config)
    for part in ("model", "data"):
        if isinstance(config.get(part), Mapping) and "init_args" in config[part]:
            section = walk(config[part], _moved)
            path = section.get("class_path") or _guess(part, section["init_args"])
            made[part] = section | {"init_args": upgrade_options(path, section["init_args"])}
    notice(config, made)
    return made


def _guess(part: str, options: Mapping) -> str:
    """Name the class that an overlay without a class is for, as far as old options tell."""
    if part == "data":
        return TOKENS
    if {"base_tokens", "demo_guidance", "demo_sampler"} & options.keys():
        return JBDIFF
    return DANCE if "c_mults" in str(options.get("net")) else SEDD


def _moved(class_path: str) -> str:
    return MOVED.get(class_path, class_path)


def walk(settings: object, change: Callable[[str], str]) -> dict:
    """Copy nested settings with every class path changed."""

    def copy(value: object, key: str = "") -> object:
        if isinstance(value, Mapping):
            return {name: copy(part, name) for name, part in value.items()}
        if isinstance(value, list):
            return [copy(part) for part in value]
        return change(value) if key == "class_path" and isinstance(value, str) else value

    made = copy(settings)
    assert isinstance(made, dict)
    return made


def notice(before: Mapping, after: Mapping) -> None:
    """Say in one line which names of an earlier version were read."""
    old, new = _names(before), _names(after)
    if gone := sorted(old - new):
        log.info(
            "read from an earlier version: %s, now %s",
            ", ".join(gone),
            ", ".join(sorted(new - old)) or "without them",
        )


def _names(settings: Mapping) -> set[str]:
    names = set(settings)
    for part in ("model", "data"):
        if isinstance(settings.get(part), Mapping):
            names |= {f"{part}.{name}" for name in settings[part].get("init_args", {})}
    return names
