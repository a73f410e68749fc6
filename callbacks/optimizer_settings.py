"""Learning rate and other settings of optimisers, as the user set them also at resume."""

import logging
from collections.abc import Iterator, Mapping

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import Optimizer

from callbacks.resumed_states import check_kind

log = logging.getLogger(__name__)
PROGRESS = ("last_epoch", "_step_count", "_last_lr")
RATES = ("lr", "initial_lr")


class OptimizerSettings(Callback):
    """Use the settings of now where they differ from those that the checkpoint was made with.

    Lightning restores all of an optimiser's and a scheduler's state, the learning rate, weight
    decay and length of a schedule included, over what is configured. Here what was configured is
    kept in checkpoints, and what has changed since is applied, with a line for each setting. A
    learning rate that a callback finds, such as LearningRateFinder, becomes that of the schedule,
    which would otherwise go back to its own.
    """

    def __init__(self):
        self.configured: list[dict] = []  # for each optimiser and scheduler
        self.before: list[dict] | None = None  # the same of the checkpoint

    def state_dict(self) -> dict:
        return {"configured": self.configured}

    def load_state_dict(self, state_dict: dict) -> None:
        self.before = state_dict["configured"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now everything is configured, and nothing is restored."""
        for optimizer in trainer.optimizers:
            adopt_rates(optimizer, schedulers_of(trainer, optimizer))
        self.configured = settings(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now the checkpoint's settings are there."""
        if not trainer.ckpt_path:
            return
        before = self.before or settings(trainer, guessed=True)
        for holder, now, then in zip(holders(trainer), self.configured, before, strict=False):
            check_kind("OptimizerSettings.configured", now, then)
            changed = {key: now[key] for key in now if key in then and now[key] != then[key]}
            state = holder.state_dict()
            for key, value in changed.items():
                change(state, key, value, then[key])
            if changed:
                holder.load_state_dict(state)
            if isinstance(holder, Optimizer):
                report(changed, then)


def schedulers_of(trainer: Trainer, optimizer: Optimizer) -> list:
    """Return the schedulers of an optimiser."""
    found = [config.scheduler for config in trainer.lr_scheduler_configs]
    return [scheduler for scheduler in found if scheduler.optimizer is optimizer]


def holders(trainer: Trainer) -> list:
    """Return what has settings: optimisers, and their schedulers."""
    return [*trainer.optimizers, *(config.scheduler for config in trainer.lr_scheduler_configs)]


def adopt_rates(optimizer: Optimizer, schedulers: list) -> None:
    """Make learning rates that were set after the schedulers the ones these start from."""
    for scheduler in schedulers:
        last = scheduler.get_last_lr()
        state = scheduler.state_dict()
        for index, group in enumerate(optimizer.param_groups):
            base = group.get("initial_lr")
            if not base or group["lr"] == last[index]:
                continue
            for bases in named(state, "base_lrs"):
                bases[index] = group["lr"]
            group |= {"initial_lr": group["lr"], "lr": group["lr"] * last[index] / base}
            state["_last_lr"] = [each["lr"] for each in optimizer.param_groups]
        scheduler.load_state_dict(state)


def named(state: Mapping, name: str) -> Iterator[list]:
    """Yield the values under a name in a state and those within it, as chained schedulers have."""
    for key, value in state.items():
        if key == name:
            yield value
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from named(part, name)


def settings(trainer: Trainer, guessed: bool = False) -> list[dict]:
    """Return the settings of each optimiser and scheduler, flat, by the path of their names.

    `guessed` is for what a checkpoint of earlier versions restored, where only some are settings.
    """
    made = []
    for holder in holders(trainer):
        state = {key: value for key, value in holder.state_dict().items() if key != "state"}
        if guessed and not isinstance(holder, Optimizer):
            state = {key: value for key, value in state.items() if key == "base_lrs"}
        flat = dict(flattened(state))
        if guessed and trainer.lr_scheduler_configs:  # the rate that the schedule has reached
            flat = {path: value for path, value in flat.items() if not path.endswith(".lr")}
        made.append(flat)
    return made


def flattened(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the numbers, texts and nulls within a state that aren't how far it is."""
    items = value.items() if isinstance(value, Mapping) else None
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
    for name, part in items or ():
        if name not in (*PROGRESS, "params"):
            yield from flattened(part, f"{path}.{name}".lstrip("."))
    if value is None or isinstance(value, (int, float, str)):
        yield path, value


def change(state: dict, path: str, value, before) -> None:
    """Set what is at a path in a state; a group's learning rate keeps its place in a schedule."""
    *folders, name = path.split(".")
    place = state
    for folder in folders:
        place = place[int(folder)] if isinstance(place, list) else place[folder]
    if isinstance(place, tuple):  # Adam's betas
        parts = list(place)
        parts[int(name)] = value
        return change(state, ".".join(folders), tuple(parts), place)
    if name == "initial_lr":  # where a schedule is, it stays
        place["lr"] *= value / before if before else 1.0
    elif name == "lr":
        if "initial_lr" in place:
            return
        value = place["lr"] * value / before if before else value
    place[int(name) if isinstance(place, list) else name] = value


@rank_zero_only
def report(changed: Mapping, before: Mapping) -> None:
    """Say which settings aren't those of the checkpoint."""
    for path, value in changed.items():
        _, group, name = path.split(".", 2)
        if name == "lr" and f"param_groups.{group}.initial_lr" in changed:
            continue  # where the schedule begins
        shown = "learning rate" if name in RATES else name
        log.info("resumed with %s %s, which was %s", shown, value, before[path])
