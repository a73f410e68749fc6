"""One example of a batch, whatever the batch is made of."""

import pytest
import torch

from foundation.batch import example

TOKENS = torch.arange(6).view(3, 1, 2)


@pytest.mark.parametrize("place", [1, 4])  # places start again after the last
def test_an_example_is_a_batch_of_one(place):
    batch = {"tokens": TOKENS, "cond": {"folder": ["a", "b", "c"], "tempo": torch.ones(3)}}
    found = example(batch, place)
    assert found["tokens"].tolist() == [[[2, 3]]]
    assert found["cond"]["folder"] == ["b"] and found["cond"]["tempo"].shape == (1,)


def test_batches_of_other_data_modules_are_divided_too():
    x, (y, weight) = example((TOKENS, (TOKENS, torch.tensor(7.0))), 2)
    assert x.tolist() == y.tolist() == [[[4, 5]]] and weight == 7
    assert example(TOKENS, 0).shape == (1, 1, 2)
    assert example("text", 1) == "text"
