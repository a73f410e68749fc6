import torch

from sedd.row_sums import PARTS, RowSums, log_totals


def test_sums_are_those_of_each_row():
    rows = torch.randn(2, PARTS // 2 + 3, 7, dtype=torch.float64)
    first, second = torch.randint(7, (2, *rows.shape[:2]))
    total, plain, at_first, at_second = RowSums.apply(rows, first, second)
    torch.testing.assert_close(total, rows.logsumexp(-1))
    torch.testing.assert_close(plain, rows.sum(-1))
    assert torch.equal(at_first, rows.gather(-1, first[..., None])[..., 0])
    assert torch.equal(at_second, rows.gather(-1, second[..., None])[..., 0])


def test_gradients_are_those_of_finite_differences():
    rows = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    first, second = torch.randint(5, (2, 2, 3))
    second[0] = first[0]  # both entries may be the same
    assert torch.autograd.gradcheck(lambda x: RowSums.apply(x, first, second), rows)


def test_many_rows_are_summed_in_parts():
    rows = torch.randn(2 * PARTS + 1, 4)
    assert torch.equal(log_totals(rows), rows.logsumexp(-1))
