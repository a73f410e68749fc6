"""Settings of songs as they were before samplers were classes: `steps: 25` and `sampler: dpm`."""

import logging
from dataclasses import asdict, is_dataclass

from foundation.errors import UserError
from jbdiff.samplers import DDIM, DPM, IPLMS, LatentSampler

log = logging.getLogger(__name__)
OLD_NAMES = {"ddim": DDIM, "dpm": DPM, "iplms": IPLMS}
OLD_STEPS = {"level_2": 250, "level_1": 70, "level_0": 20, "dance": 150}  # where none were given


def sampler_settings(sampler: LatentSampler) -> dict:
    """Return the class path and options of a sampler, as YAML and JSON hold them.

    Raises:
        UserError: for one that isn't a dataclass
    """
    kind = type(sampler)
    if not is_dataclass(sampler):
        raise UserError(f"{kind.__name__} must be a dataclass: its fields are a sampler's options")
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": asdict(sampler)}


def converted(settings: dict) -> dict:
    """Return a song's settings with each old `steps` and `sampler` as a sampler with its options.

    Others are returned as they are. A line in the log says what was converted.
    """
    made = convert(settings)
    if old := [name for name in made if made[name] != settings[name]]:
        log.info(
            "steps and sampler of %s are read as a sampler with its options: write sampler: "
            "{class_path: DPM, init_args: {steps: 25}}",
            ", ".join(old),
        )
    return made


def convert(settings: dict) -> dict:
    """Do the same without a line in the log."""
    return {
        name: _converted_part(part, OLD_STEPS[name]) if name in OLD_STEPS else part
        for name, part in settings.items()
    }


def _converted_part(part: object, steps: int) -> object:
    """Convert the settings of a level or of Dance Diffusion."""
    if not isinstance(part, dict):
        return part
    name = part.get("sampler", "ddim")
    if not {"steps", "sampler"} & part.keys() or not isinstance(name, str) or name not in OLD_NAMES:
        return part
    steps = part.get("steps", steps)
    if type(steps) is not int:
        raise UserError(f"steps must be a whole number, got {steps!r}")
    sampler = OLD_NAMES[name](steps=steps)
    others = {key: value for key, value in part.items() if key not in ("steps", "sampler")}
    return others | {"sampler": sampler_settings(sampler)}
