from itertools import chain

import pytest
from lightning.pytorch import Trainer

from datamodules.data_order import InOrderSampler, ResumableSampler
from datamodules.global_batch import keep_global_batch
from foundation.errors import UserError


def batches(sampler, size: int) -> list[list[tuple[int, int]]]:
    found = list(sampler)
    return [found[first : first + size] for first in range(0, len(found), size)]


def together(processes: int, count: int, done: int = 0, size: int = 3) -> list[tuple[int, int]]:
    """Return the next `count` batches of all processes, in the order of their numbers."""
    each = [
        batches(ResumableSampler(10, 1, size, count, rank, processes, lambda: (done, 0)), size)
        for rank in range(processes)
    ]
    return list(chain(*(batch for turn in zip(*each, strict=True) for batch in turn)))


def test_every_example_comes_once_an_epoch_whoever_takes_it():
    whole = together(1, 20)  # six epochs
    for epoch in range(6):
        assert whole[10 * epoch : 10 * epoch + 10] != whole[:10] or epoch == 0
        assert sorted(whole[10 * epoch : 10 * epoch + 10]) == [(epoch, k) for k in range(10)]
    for processes in (2, 4):
        assert together(processes, 20 // processes) == whole


@pytest.mark.parametrize("before", [1, 2, 4])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_another_number_of_processes_and_size_of_batch_continues(before, after):
    whole, first = together(1, 24), together(before, 8 // before)
    assert first + together(after, 16 // after, len(first)) == whole
    assert first + together(after, 24 // after, len(first), size=2) == whole


def test_a_resumed_iteration_is_shorter_by_what_is_done():
    whole = list(ResumableSampler(10, 0, 2, 6))
    resumed = ResumableSampler(10, 0, 2, 6, position=lambda: (8, 4))
    assert len(resumed) == 12 and list(resumed) == whole[8:]
    assert whole != list(ResumableSampler(10, 1, 2, 6))


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_processes_validate_on_all_examples_in_equally_many_batches(processes):
    share = {"batch_size": 4, "world_size": processes}
    each = [InOrderSampler(22, rank=rank, **share).batches for rank in range(processes)]
    assert len({len(part) for part in each}) == 1
    inside = [list(batch) for turn in zip(*each, strict=True) for batch in turn]
    assert list(chain(*inside[:6])) == list(range(22)) and inside[6:] == inside[: len(inside) - 6]
    sampler = InOrderSampler(22, 4, done=lambda: 4)
    assert list(sampler) == [(0, k) for k in range(16, 22)] and len(sampler) == 22


@pytest.mark.parametrize("processes, accumulate", [(1, 16), (2, 8), (16, 1)])
def test_a_global_batch_is_kept_and_validations_stay_at_their_steps(
    processes, accumulate, monkeypatch
):
    monkeypatch.setattr(Trainer, "world_size", processes)
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = Trainer(accumulate_grad_batches=4, val_check_interval=100, **options)
    for _ in range(2):
        keep_global_batch(trainer, 4, 64)
        assert trainer.accumulate_grad_batches == accumulate
        assert trainer.val_check_interval == 25 * accumulate
    with pytest.raises(UserError, match="multiple of batch_size 4 x .*, got 65: set a multiple"):
        keep_global_batch(trainer, 4, 65)
    monkeypatch.setattr(Trainer, "world_size", 3)
    with pytest.raises(UserError, match="take processes, whose number divides 16"):
        keep_global_batch(trainer, 4, 64)
