"""Data order as a function of seed and batches done, so that a resumed run continues exactly."""

import logging
from collections.abc import Callable, Iterator, Sized

import numpy as np
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from datamodules.loader_workers import WorkerLoader, leave_signals_to_main
from datamodules.permutation import Permutation
from foundation.errors import UserError

log = logging.getLogger(__name__)
BLOCK = 1024  # indices computed at once
ORDER = 2  # the order's version; 1 was a table of all examples, and has no number in checkpoints


class ResumableSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, index) pairs, from which alone, and its seed, a dataset draws an example.

    Each rank takes every `world_size`-th example of the same order, which wraps around so that all
    ranks have equally many. The order is computed on the way: neither memory nor the time to begin,
    or to resume at any place, depends on the number of examples. Without shuffle every epoch is
    epoch 0, in order. `position` returns, whenever an iteration begins, the epoch and how many of
    this rank's examples are done.
    """

    def __init__(
        self,
        num_examples: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ):
        if num_examples < 1 or not 0 <= rank < world_size:
            raise UserError(
                f"a sampler needs examples and a rank below the world size, got {num_examples} "
                f"examples, rank {rank} of {world_size}"
            )
        self.num_examples, self.seed, self.shuffle = num_examples, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.position = position

    def __len__(self) -> int:
        """Count this rank's examples in a whole epoch, also while a resumed one is shorter."""
        return -(-self.num_examples // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, done = self.position()
        order = Permutation(self.num_examples, f"order {self.seed} {epoch}")
        for first in range(done, len(self), BLOCK):
            mine = np.arange(first, min(first + BLOCK, len(self)))
            places = (self.rank + mine * self.world_size) % self.num_examples
            for index in (order(places) if self.shuffle else places).tolist():
                yield epoch, index


class RepeatingSampler(ResumableSampler, SequentialSampler):  # pyright: ignore[reportGeneralTypeIssues]
    """The same examples in the same order in every epoch, for `overfit_batches`.

    For Lightning it is a sequential one, which it doesn't replace by its own.
    """


class ResumableLoader(WorkerLoader):
    """A loader that has a state, by which Lightning knows that it resumes within an epoch."""

    def state_dict(self) -> dict[str, int]:
        sampler, batch_size = self.sampler, self.batch_size
        assert isinstance(sampler, ResumableSampler) and batch_size is not None
        return {
            "examples": sampler.num_examples,
            "seed": sampler.seed,
            "order": ORDER,
            "global batch": batch_size * sampler.world_size,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        if state != self.state_dict():
            log.warning(
                "the music, batch size, seed or version changed, so the data order doesn't "
                "continue where it was: it had %s, it has %s",
                state,
                self.state_dict(),
            )


def batches_an_epoch(trainer: Trainer, num_batches: int) -> int:
    """Apply `limit_train_batches`, a count or a fraction."""
    limit = trainer.limit_train_batches
    return max(1, min(num_batches, limit) if isinstance(limit, int) else int(num_batches * limit))


def resumable_loader(
    dataset: Dataset,
    trainer: Trainer,
    batch_size: int,
    num_workers: int = 0,
    seed: int = 0,
    shuffle: bool = True,
) -> DataLoader:
    """Load this rank's batches; shuffled ones begin where the Trainer's checkpoint ends.

    The position follows from the batches done in all epochs, because Lightning's count of epochs
    includes an empty one when a run without `max_epochs` resumes at an epoch's end.
    """
    assert isinstance(dataset, Sized)
    repeats = trainer.overfit_batches > 0  # pyright: ignore[reportAttributeAccessIssue]
    sampler = (RepeatingSampler if repeats else ResumableSampler)(
        len(dataset), seed, trainer.global_rank, trainer.world_size, shuffle and not repeats
    )
    loader = ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_main,
        persistent_workers=num_workers > 0,
        pin_memory=trainer.strategy.root_device.type != "cpu",
        drop_last=shuffle and len(sampler) >= batch_size,  # the order changes, so nothing is lost
    )

    def position() -> tuple[int, int]:
        progress = trainer.fit_loop.epoch_loop.batch_progress.total
        done = progress.processed  # pyright: ignore[reportAttributeAccessIssue]
        epoch, batches = divmod(done, batches_an_epoch(trainer, len(loader)))
        return 0 if repeats else epoch, batches * batch_size

    if shuffle:
        sampler.position = position
    return loader
