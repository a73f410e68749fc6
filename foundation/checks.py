"""Checks of settings; each raises UserError with the setting's name and value."""

import os
from collections.abc import Mapping, Sequence

from foundation.errors import UserError


def check_at_least(least: float, **settings: float | None) -> None:
    """Check that settings, given by name, are at least `least`; None passes."""
    for name, value in settings.items():
        if value is not None and not value >= least:  # nan isn't, either
            raise UserError(f"{name} must be at least {least}, got {value}")


def check_positive(**settings: float | None) -> None:
    """Check that settings, given by name, are above 0; None passes."""
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise UserError(f"{name} must be above 0, got {value}")


def check_fraction(**settings: float | None) -> None:
    """Check that settings, given by name, are between 0 and 1, both included; None passes."""
    for name, value in settings.items():
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{name} must be between 0 and 1, got {value}")


def check_optimizer_options(settings: Mapping[str, object]) -> None:
    """Check the settings that a model's optimizer will be made with, ahead of it."""
    for name in ("learning_rate", "weight_decay", "warmup_steps"):
        if isinstance(value := settings.get(name), (int, float)):
            check_at_least(0, **{name: value})


def check_not_empty(**settings: object) -> None:
    """Check that settings, given by name, aren't empty, as a variable that isn't set is."""
    for name, value in settings.items():
        if value == "":
            raise UserError(
                f"{name} is empty (is a variable not set?): give a value or leave it out"
            )


def check_workers(num_workers: int, least: int = 0) -> None:
    """Check a number of data workers: thousands would take all memory before the first reads."""
    check_at_least(least, num_workers=num_workers)
    check_processes(num_workers=num_workers)


def check_processes(**settings: int) -> None:
    """Check numbers of processes, given by name, against what a machine can start."""
    cores = os.cpu_count() or 1
    most = max(64, 8 * cores)
    for name, value in settings.items():
        if value > most:
            raise UserError(
                f"{name} must be at most {most} on a machine of {cores} cores, got {value}"
            )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check that a setting is one of `choices`."""
    if value not in choices:
        raise UserError(f"{name} must be {' or '.join(choices)}, got {value!r}")


def refuse_address(
    shown: str, value: str, advice: str = "download it and give the file's path"
) -> None:
    """Raise UserError where a value is the address of a file elsewhere, told as `shown`."""
    if "://" in value:
        raise UserError(f"{shown} is not on this machine: {advice}")
