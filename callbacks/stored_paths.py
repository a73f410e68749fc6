"""Paths that a checkpoint holds for callbacks, which may write to them and delete them."""

from collections.abc import Iterator, Mapping

from lightning.pytorch import Callback, LightningModule, Trainer

from foundation.errors import UserError


class StoredPaths(Callback):
    """Refuse a checkpoint whose callbacks' states hold a path that climbs, or a remote one.

    Ours hold none. Lightning's ModelCheckpoint holds those of its files and deletes them as better
    ones come; it compares folders by their names alone, so `checkpoints/../../photos` is in
    `checkpoints` for it. What it wrote itself has neither, unless its own `dirpath` has.
    """

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict
    ) -> None:
        own = [str(getattr(one, "dirpath", None)) for one in trainer.checkpoint_callbacks]
        for key, state in checkpoint.get("callbacks", {}).items():
            for text in texts(state):
                climbs = ".." in text.replace("\\", "/").split("/") or "://" in text
                if climbs and not any(plainly_below(text, folder) for folder in own):
                    raise UserError(
                        f"the checkpoint is refused: it holds the path {text} for {key}, which "
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
