import tracemalloc
from itertools import islice

import numpy as np
import pytest

from datamodules.data_order import ResumableSampler
from datamodules.permutation import Permutation


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 100, 1000, 4097])
def test_each_number_comes_once(length):
    order = Permutation(length, "a")(np.arange(length))
    assert sorted(order) == list(range(length))


def test_places_are_looked_up_alone_as_in_the_whole():
    order = Permutation(1000, "a")
    assert np.array_equal(order(np.arange(1000))[700:720], order(np.arange(700, 720)))


def test_all_places_are_equally_likely_and_neighbours_part():
    """Chi-square of (place, number) over keys, and of steps between neighbours of one order."""
    orders = np.stack([Permutation(12, f"key {key}")(np.arange(12)) for key in range(600)])
    counts = np.stack([np.bincount(column, minlength=12) for column in orders.T])
    chi_square = ((counts - 50) ** 2 / 50).sum()
    assert abs(chi_square - 121) < 4 * np.sqrt(2 * 121)  # 11 x 11 degrees of freedom
    steps = np.diff(Permutation(10**6, "a")(np.arange(20000))) % 10**6
    counts = np.bincount(steps // 10**5, minlength=10)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 9 + 4 * np.sqrt(18)


def test_an_epoch_of_a_trillion_begins_anywhere_at_once():
    tracemalloc.start()
    place = 2 * 10**12 + 10**11
    sampler = ResumableSampler(10**12, 1, 4, 10**10, 3, 8, lambda: (place, 0))
    taken = list(islice(sampler, 3000))
    assert len(set(taken)) == 3000 and tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    later = ResumableSampler(10**12, 1, 4, 10**10, 3, 8, lambda: (place + 8 * 1500, 0))
    assert list(islice(later, 1500)) == taken[1500:]
