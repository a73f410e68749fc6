"""States that a checkpoint holds for the parts of a run: refused where these couldn't use them."""

from collections.abc import Iterator, Mapping

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Adam, Optimizer

from foundation.errors import UserError

AVERAGES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")  # torch's names


class ResumedStates(Callback):
    """Compare the states in a checkpoint with those that the parts of this run have.

    Lightning and torch take over most of what they find: a text in place of a count, or an average
    of another shape than its weight, fails steps later or never. A path in a callback's state is
    refused where it climbs, and so is a remote one. Ours hold none, but Lightning's ModelCheckpoint
    holds those of its files and deletes them as better ones come; it compares folders by their
    names alone, so `checkpoints/../../photos` is in `checkpoints` for it. What it wrote itself has
    neither, unless its own `dirpath` has.
    """

    def __init__(self):
        self._checkpoint: dict = {}  # until the optimisers are there to compare with

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        states = checkpoint.get("callbacks", {})
        own = [str(getattr(one, "dirpath", None)) for one in trainer.checkpoint_callbacks]
        for key, state in states.items():
            check_paths(key, state, own)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if (key := callback.state_key) in states:
                check_kind(key, callback.state_dict(), states[key])
        if trainer.state.fn == TrainerFn.FITTING:
            counts = checkpoint["loops"]["fit_loop"]
            check_kind("fit_loop", trainer.fit_loop.state_dict(), counts)
            check_counts("fit_loop", counts)
            self._checkpoint = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at optimisers and schedulers, which are made but not restored by now."""
        found, self._checkpoint = self._checkpoint, {}
        made = [config.scheduler for config in trainer.lr_scheduler_configs]
        optimizers, schedulers = found.get("optimizer_states"), found.get("lr_schedulers")
        if optimizers is None or schedulers is None:
            return  # nothing is resumed, or Lightning says what is missing
        for name, ours, theirs in (
            ("optimizer_states", trainer.optimizers, optimizers),
            ("lr_schedulers", made, schedulers),
        ):
            if len(ours) != len(theirs):
                raise damaged(f"{name}: {len(theirs)}, where this run has {len(ours)}")
        for optimizer, state in zip(trainer.optimizers, optimizers, strict=True):
            check_optimizer(optimizer, state)
        for scheduler, state in zip(made, schedulers, strict=True):
            name, own = type(scheduler).__name__, scheduler.state_dict()
            check_kind(name, own, state)
            for key in state.keys() - own.keys():
                if hasattr(scheduler, str(key)):  # which it would replace
                    raise damaged(f"{name}.{key}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now torch has added what checkpoints of its earlier versions lack."""
        for optimizer in trainer.optimizers:
            for number, group in enumerate(optimizer.param_groups):
                for key in optimizer.defaults.keys() - group.keys():
                    raise damaged(f"{type(optimizer).__name__}.param_groups.{number}.{key}")


def damaged(place: str) -> UserError:
    return UserError(f"the checkpoint is damaged at {place}: resume an earlier one")


def check_paths(name: str, state: object, folders: list[str]) -> None:
    """Raise UserError for a callback's path that leads out of the run's folder."""
    for text in texts(state):
        climbs = ".." in text.replace("\\", "/").split("/") or "://" in text
        if climbs and not any(plainly_below(text, folder) for folder in folders):
            raise UserError(
                f"the checkpoint is refused: it holds the path {text} for {name}, which "
                "leads out of the run's folder"
            )


def plainly_below(path: str, folder: str) -> bool:
    """Say whether a path is that of a folder, or below it without `..`."""
    rest = path.removeprefix(folder)
    return path.startswith(folder) and ".." not in rest and "://" not in rest


def texts(state: object) -> Iterator[str]:
    """Find all texts in nested values, keys included."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from texts(value)
    elif isinstance(state, str):
        yield state


def check_kind(place: str, own: object, stored: object) -> None:
    """Raise UserError where a stored value is of another kind than a part's own value.

    What is null in the part, empty, or there in one of them alone, may be of any kind.
    """
    if own is None or (stored is None and isinstance(own, bool)):  # an optimiser's flags
        return
    if kind(own) is not kind(stored):
        raise damaged(f"{place}, which is no {kind(own).__name__}")
    if isinstance(own, Mapping) and isinstance(stored, Mapping):
        for key in own.keys() & stored.keys():
            check_kind(f"{place}.{key}", own[key], stored[key])
    elif isinstance(own, (list, tuple)) and isinstance(stored, (list, tuple)):
        if isinstance(own, tuple) and len(own) != len(stored):  # Adam's betas
            raise damaged(f"{place}: {len(stored)} values")
        for number, (one, other) in enumerate(zip(own, stored, strict=False)):
            check_kind(f"{place}.{number}", one, other)


def kind(value: object) -> type:
    """Return a value's type, one for all numbers, for all mappings and for all sequences."""
    if isinstance(value, bool):
        return bool
    kinds = {(int, float): float, Mapping: dict, (list, tuple): list, Tensor: Tensor}
    return next((name for types, name in kinds.items() if isinstance(value, types)), type(value))


def check_counts(place: str, state: Mapping) -> None:
    """Raise UserError for a number in a loop's state that counts nothing."""
    for key, value in state.items():
        if isinstance(value, Mapping):
            check_counts(f"{place}.{key}", value)
        elif isinstance(value, (int, float)) and (value < 0 or value != int(value)):
            raise damaged(f"{place}.{key}: {value}")


def check_optimizer(optimizer: Optimizer, stored: object) -> None:
    """Raise UserError for the state of other weights than those of an optimiser."""
    name, own = type(optimizer).__name__, optimizer.state_dict()
    check_kind(name, own, stored)
    check_betas(name, stored)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    states = stored.get("state") if isinstance(stored, Mapping) else None
    if not isinstance(states, Mapping):
        raise damaged(f"{name}.state")
    for number, state in states.items():
        place = f"{name}.state.{number}"
        known = isinstance(number, int) and 0 <= number < len(weights)
        if not known or not isinstance(state, Mapping):
            raise damaged(place)
        check_averages(optimizer, weights[number], state, place)


def check_betas(name: str, stored: object) -> None:
    """Raise UserError for what Adam would divide by zero with; its constructor refuses it, too."""
    groups = stored.get("param_groups", []) if isinstance(stored, Mapping) else []
    for number, group in enumerate(groups):
        betas = group.get("betas") if isinstance(group, Mapping) else None
        if betas is not None and not all(0 <= beta < 1 for beta in betas):
            raise damaged(f"{name}.param_groups.{number}.betas: {betas}")


def check_averages(optimizer: Optimizer, weight: Tensor, state: Mapping, place: str) -> None:
    """Raise UserError for averages of a weight that aren't there or have another shape."""
    if isinstance(optimizer, Adam) and (lost := {"step", *AVERAGES[:2]} - state.keys()):
        raise damaged(f"{place}, which has no {min(lost)}")
    step = state.get("step", 0)
    single = isinstance(step, (int, float)) or (isinstance(step, Tensor) and step.numel() == 1)
    if not single or not float(step) >= 0:
        raise damaged(f"{place}.step: {step}")
    for part in state.keys() & set(AVERAGES):
        value, shape = state[part], weight.shape
        fits = isinstance(value, Tensor) and value.shape == shape
        if value is not None and not (fits and value.is_floating_point()):
            raise damaged(f"{place}.{part}, which isn't of the weight's shape {list(shape)}")
