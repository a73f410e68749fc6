from datamodules.data_order import ResumableSampler


def test_the_ranks_share_an_epoch_evenly():
    parts = [list(ResumableSampler(10, 3, rank, 4)) for rank in range(4)]
    assert {len(part) for part in parts} == {3}
    assert {index for part in parts for _, index in part} == set(range(10))
    single = [index for _, index in ResumableSampler(10, 3)]
    assert [parts[k % 4][k // 4][1] for k in range(10)] == single


def test_order_depends_on_seed_and_epoch():
    first = list(ResumableSampler(20, 0))
    assert first == list(ResumableSampler(20, 0)) != list(ResumableSampler(20, 1))
    second = list(ResumableSampler(20, 0, position=lambda: (1, 0)))
    assert [index for _, index in second] != [index for _, index in first]
    assert {epoch for epoch, _ in second} == {1}
    assert list(ResumableSampler(5, shuffle=False)) == [(0, k) for k in range(5)]


def test_a_resumed_epoch_goes_on_where_it_was():
    whole = list(ResumableSampler(10, 0, position=lambda: (2, 0)))
    resumed = ResumableSampler(10, 0, position=lambda: (2, 4))
    assert len(resumed) == 10 and list(resumed) == whole[4:]
