"""Data order as a function of (seed, epoch), so that a resumed run goes on at the next batch."""

import logging
import random
from collections.abc import Iterator, Sized

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, Sampler

log = logging.getLogger(__name__)


class ResumableSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, index) pairs; a dataset draws its crop from them and its seed alone.

    Each rank takes every `world_size`-th example of the same order; the order wraps around so that
    all ranks have equally many. Without shuffle every epoch is epoch 0, in order.
    """

    def __init__(
        self,
        num_examples: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ):
        if num_examples < 1 or not 0 <= rank < world_size:
            raise ValueError(
                f"a sampler needs examples and a rank below the world size, got {num_examples} "
                f"examples, rank {rank} of {world_size}"
            )
        self.num_examples, self.seed, self.shuffle = num_examples, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self._resumed, self._consumed = 0, 0

    def __len__(self) -> int:
        """Count this rank's examples in a whole epoch, also while a resumed one is shorter."""
        return -(-self.num_examples // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch; Lightning calls this before each."""
        self.epoch = epoch

    def resume(self, epoch: int, consumed: int) -> None:
        """Start at an epoch, past the first `consumed` examples of this rank."""
        self.epoch = self._resumed = epoch
        self._consumed = consumed

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch if self.shuffle else 0
        skip = self._consumed if self.epoch == self._resumed else 0
        self._consumed = 0
        return iter([(epoch, index) for index in self._order(epoch)[skip:]])

    def _order(self, epoch: int) -> list[int]:
        order = list(range(self.num_examples))
        if self.shuffle:
            number = random.Random(f"order {self.seed} {epoch}").getrandbits(63)
            generator = torch.Generator().manual_seed(number)
            order = torch.randperm(self.num_examples, generator=generator).tolist()
        total = len(self) * self.world_size
        return [order[k % len(order)] for k in range(self.rank, total, self.world_size)]


class ResumableLoader(DataLoader):
    """Tell Lightning that mid-epoch resuming is exact, and warn where it can't be."""

    def state_dict(self) -> dict[str, int]:
        sampler = self.sampler
        return {
            "examples": sampler.num_examples,
            "seed": sampler.seed,
            "global batch": self.batch_size * sampler.world_size,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        changed = [
            f"{name} {state.get(name)} -> {value}"
            for name, value in self.state_dict().items()
            if state.get(name) != value
        ]
        if changed:
            log.warning("resuming with another data order than before: %s", ", ".join(changed))


def resume_point(trainer: Trainer) -> tuple[int, int]:
    """Say at which epoch and after how many of its batches a Trainer goes on; (0, 0) when fresh."""
    epochs = trainer.fit_loop.epoch_progress.current
    batches = trainer.fit_loop.epoch_loop.batch_progress
    if epochs.started == epochs.processed:  # saved between epochs
        return epochs.processed, 0
    if batches.is_last_batch:
        return epochs.processed + 1, 0
    return epochs.processed, batches.current.processed


def train_loader(
    dataset: Dataset, trainer: Trainer, batch_size: int, num_workers: int = 0, seed: int = 0
) -> DataLoader:
    """Load shuffled batches from where the Trainer's checkpoint left off, this rank's share."""
    loader = _loader(dataset, trainer, batch_size, num_workers, seed, shuffle=True)
    epoch, batches = resume_point(trainer)
    loader.sampler.resume(epoch, batches * batch_size)
    return loader


def val_loader(
    dataset: Dataset, trainer: Trainer, batch_size: int, num_workers: int = 0
) -> DataLoader:
    """Load the same batches in the same order every time, this rank's share."""
    return _loader(dataset, trainer, batch_size, num_workers, seed=0, shuffle=False)


def _loader(
    dataset: Dataset, trainer: Trainer, batch_size: int, num_workers: int, seed: int, shuffle: bool
) -> DataLoader:
    assert isinstance(dataset, Sized)
    sampler = ResumableSampler(len(dataset), seed, trainer.global_rank, trainer.world_size, shuffle)
    return ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=trainer.strategy.root_device.type != "cpu",
        drop_last=shuffle and len(sampler) >= batch_size,  # the order changes, so nothing is lost
    )
