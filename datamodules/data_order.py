"""Data order as a function of seed and batches done: a resumed run goes on at the next batch."""

import logging
import random
import signal
from collections.abc import Callable, Iterator, Sized

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, Sampler

log = logging.getLogger(__name__)


class ResumableSampler(Sampler[tuple[int, int]]):
    """Yield (epoch, index) pairs; a dataset draws its crop from them and its seed alone.

    Each rank takes every `world_size`-th example of the same order; the order wraps around so that
    all ranks have equally many. Without shuffle every epoch is epoch 0, in order. `position` says,
    whenever an iteration begins, at which epoch and after how many of this rank's examples.
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
            raise ValueError(
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
        epoch, consumed = self.position()
        return iter([(epoch, index) for index in self._order(epoch)[consumed:]])

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
            log.warning(
                "resuming with other music or batches than before (%s): no exact continuation",
                ", ".join(changed),
            )


def batches_an_epoch(trainer: Trainer, num_batches: int) -> int:
    """Apply `limit_train_batches`, a count or a fraction."""
    limit = trainer.limit_train_batches
    return max(1, min(num_batches, limit) if isinstance(limit, int) else int(num_batches * limit))


def train_loader(
    dataset: Dataset, trainer: Trainer, batch_size: int, num_workers: int = 0, seed: int = 0
) -> DataLoader:
    """Load shuffled batches from where the Trainer's checkpoint left off, this rank's share.

    The place follows from the batches processed in all epochs: Lightning's count of epochs also
    counts an empty one when a run without `max_epochs` resumes at an epoch's end.
    """
    loader = _loader(dataset, trainer, batch_size, num_workers, seed, shuffle=True)

    def position() -> tuple[int, int]:
        done = trainer.fit_loop.epoch_loop.batch_progress.total.processed
        epoch, batches = divmod(done, batches_an_epoch(trainer, len(loader)))
        return epoch, batches * batch_size

    loader.sampler.position = position
    return loader


def val_loader(
    dataset: Dataset, trainer: Trainer, batch_size: int, num_workers: int = 0
) -> DataLoader:
    """Load the same batches in the same order every time, this rank's share."""
    return _loader(dataset, trainer, batch_size, num_workers, seed=0, shuffle=False)


def check_settings(batch_size: int, num_workers: int, val_fraction: float, short: str) -> None:
    """Refuse with ValueError what no data module can work with."""
    if short not in ("pad", "skip"):
        raise ValueError(f"short must be pad or skip, got {short}")
    if batch_size < 1 or num_workers < 0:
        raise ValueError(
            "batch_size must be at least 1 and num_workers at least 0, got "
            f"{batch_size} and {num_workers}"
        )
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")


def outlive_sigterm(worker: int) -> None:
    """Let a worker end with its loader: SIGTERM to the whole group is the main process's to handle.

    Otherwise a dead worker's error comes before the checkpoint that is written on SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
        worker_init_fn=outlive_sigterm,
        persistent_workers=num_workers > 0,
        pin_memory=trainer.strategy.root_device.type != "cpu",
        drop_last=shuffle and len(sampler) >= batch_size,  # the order changes, so nothing is lost
    )
