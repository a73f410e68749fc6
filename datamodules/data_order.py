"""Data order as a function of seed and examples done, so that a resumed run continues exactly.

It doesn't depend on the number of processes: a run can resume on another one.
"""

import logging
from collections.abc import Callable, Iterator, Sized

import numpy as np
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from datamodules.loader_workers import WorkerLoader, leave_signals_to_main
from datamodules.messages import log_once
from datamodules.permutation import Permutation
from foundation.errors import UserError

BLOCK = 1024  # indices computed at once
ORDER = 3  # the order's version; 2 cut each epoch into the processes' parts


class ResumableSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, index) pairs, from which alone, and its seed, a dataset draws an example.

    The examples are one stream: epoch after epoch, each in an order of its own, in which every
    example comes once. Its batches are numbered, and each process takes every `world_size`-th, so
    a batch holds the same examples whoever takes it. The order is computed on the way: neither
    memory nor the time to begin, or to resume at any place, depends on the number of examples.

    Args:
        num_examples: of an epoch
        seed: of the order
        batch_size: of one process
        num_batches: that an iteration from its start yields, on each process
        rank: of this process
        world_size: the number of processes
        position: called whenever an iteration begins, returns how many examples of the stream are
            done, by all processes, and how many batches of the iteration, by each
    """

    def __init__(
        self,
        num_examples: int,
        seed: int = 0,
        batch_size: int = 1,
        num_batches: int = 1,
        rank: int = 0,
        world_size: int = 1,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ):
        check_rank(num_examples, rank, world_size)
        self.num_examples, self.seed = num_examples, seed
        self.batch_size, self.num_batches = batch_size, num_batches
        self.rank, self.world_size = rank, world_size
        self.position = position

    def __len__(self) -> int:
        """Count this process's examples in a whole iteration, also in a resumed, shorter one."""
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        first, done = self.position()
        size = max(1, BLOCK // self.batch_size)
        for begin in range(0, self.num_batches - done, size):
            numbers = np.arange(begin, min(begin + size, self.num_batches - done))
            starts = (numbers * self.world_size + self.rank) * self.batch_size
            places = first + (starts[:, None] + np.arange(self.batch_size)).ravel()
            yield from self._examples(places)

    def _examples(self, places: np.ndarray) -> Iterator[tuple[int, int]]:
        """Yield what is at some ascending places of the stream."""
        epochs, within = np.divmod(places, self.num_examples)
        for epoch in np.unique(epochs).tolist():
            order = Permutation(self.num_examples, f"order {self.seed} {epoch}")
            for index in order(within[epochs == epoch]).tolist():
                yield epoch, index


class InOrderSampler(SequentialSampler):
    """Yield (0, index) in order: each process has every `world_size`-th batch, the first anew.

    All processes have equally many batches, for which the first ones are repeated. It's for
    validation and for `overfit_batches`, where Lightning wants a sequential sampler.

    Args:
        num_examples: of all processes
        batch_size: of one process
        rank: of this process
        world_size: the number of processes
        done: called whenever an iteration begins, returns how many of its batches are done
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        done: Callable[[], int] = lambda: 0,
    ):
        check_rank(num_examples, rank, world_size)
        super().__init__(range(num_examples))
        batches = -(-num_examples // batch_size)
        rounds = -(-batches // world_size)
        numbers = [(turn * world_size + rank) % batches for turn in range(rounds)]
        starts = [number * batch_size for number in numbers]
        self.batches = [range(start, min(start + batch_size, num_examples)) for start in starts]
        self.done = done

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    def __iter__(self) -> Iterator[tuple[int, int]]:  # type: ignore[override]
        for batch in self.batches[self.done() :]:
            for index in batch:
                yield 0, index


def check_rank(num_examples: int, rank: int, world_size: int) -> None:
    if num_examples < 1 or not 0 <= rank < world_size:
        raise UserError(
            f"a sampler needs examples and a rank below the world size, got {num_examples} "
            f"examples, rank {rank} of {world_size}"
        )


class Position:
    """How far a run is in its data: it counts on from what its checkpoint says.

    Args:
        trainer: which counts a process's batches
        batch_size: of one process
    """

    def __init__(self, trainer: Trainer, batch_size: int):
        self.trainer, self.batch_size = trainer, batch_size
        self.resume(0, 0)

    def resume(self, examples: int, batches: int | None = None) -> None:
        """Count from so many examples of the stream on, which are this many batches."""
        self.examples = examples
        self.batches = self._total if batches is None else batches

    @property
    def step(self) -> int:
        """Count the examples of an optimizer step, of all processes together."""
        return self._batch * self.trainer.accumulate_grad_batches

    @property
    def _batch(self) -> int:
        return self.batch_size * self.trainer.world_size

    @property
    def _total(self) -> int:
        total = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return total.processed  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def _of_epoch(self) -> int:
        current = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return current.processed  # pyright: ignore[reportAttributeAccessIssue]

    def done(self) -> int:
        """Return how many examples all processes have trained on together."""
        return self.examples + (self._total - self.batches) * self._batch

    def done_in_steps(self) -> int:
        """Return how many of them are in whole optimizer steps, which a checkpoint holds alone."""
        is_last = self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        rest = 0 if is_last else self._of_epoch % self.trainer.accumulate_grad_batches
        return self.done() - rest * self._batch

    def batches_of_epoch(self, num_batches: int) -> int:
        """Return how many batches of the Trainer's epoch each process has done."""
        return self._of_epoch % batches_an_epoch(self.trainer, num_batches)


class ResumableLoader(WorkerLoader):
    """A loader that has a state, by which Lightning knows that it resumes within an epoch."""

    place: Position
    order: dict[str, int]  # what the order of the examples follows from

    def state_dict(self) -> dict[str, int]:
        return {**self.order, "step": self.place.step, "done": self.place.done_in_steps()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        before, step = {name: state.get(name) for name in self.order}, self.place.step
        if before != self.order:
            log_once(
                logging.WARNING,
                "the music, seed or version changed, so the data order doesn't continue where it "
                f"was: it had {before}, it has {self.order}",
            )
        if state.get("step", step) != step:
            log_once(
                logging.WARNING,
                f"a step has {step} examples now, it had {state['step']}: --data.global_batch "
                f"{state['step']} keeps it on any number of processes",
            )
        if "done" in state:
            self.place.resume(state["done"])


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
    """Load this process's batches; shuffled ones begin where the Trainer's checkpoint ends.

    An epoch of the Trainer is as many whole optimizer steps as there are examples for, at least
    one. What is left of the examples is the beginning of the next: each step has equally many.
    """
    assert isinstance(dataset, Sized)
    place, examples = Position(trainer, batch_size), len(dataset)
    rank, ranks = trainer.global_rank, trainer.world_size
    if shuffle and not trainer.overfit_batches:  # pyright: ignore[reportAttributeAccessIssue]
        batches = max(1, examples // place.step) * trainer.accumulate_grad_batches
        sampler = ResumableSampler(examples, seed, batch_size, batches, rank, ranks)
        sampler.position = lambda: (place.done(), place.batches_of_epoch(batches))
    else:
        sampler = InOrderSampler(examples, batch_size, rank, ranks)
        if shuffle:
            sampler.done = lambda: place.batches_of_epoch(len(sampler.batches))
    loader = ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        worker_init_fn=leave_signals_to_main,
        persistent_workers=num_workers > 0,
        pin_memory=trainer.strategy.root_device.type != "cpu",
    )
    loader.place = place
    loader.order = {"examples": examples, "seed": seed, "order": ORDER}
    return loader
