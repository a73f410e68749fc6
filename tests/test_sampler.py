from datamodules.sampler import ResumableSampler


def test_the_ranks_share_an_epoch_evenly():
    parts = [list(ResumableSampler(10, 3, rank, 4)) for rank in range(4)]
    assert {len(part) for part in parts} == {3}
    assert {index for part in parts for _, index in part} == set(range(10))
    single = [index for _, index in ResumableSampler(10, 3)]
    assert [parts[k % 4][k // 4][1] for k in range(10)] == single


def test_order_depends_on_seed_and_epoch():
    sampler = ResumableSampler(20, 0)
    first = list(sampler)
    assert first == list(ResumableSampler(20, 0)) != list(ResumableSampler(20, 1))
    sampler.set_epoch(1)
    assert list(sampler) != first and {epoch for epoch, _ in sampler} == {1}
    plain = ResumableSampler(5, shuffle=False)
    plain.set_epoch(7)
    assert list(plain) == [(0, k) for k in range(5)]


def test_a_resumed_epoch_goes_on_and_the_next_is_whole():
    whole = ResumableSampler(10, 0)
    whole.set_epoch(2)
    resumed = ResumableSampler(10, 0)
    resumed.resume(2, 4)
    resumed.set_epoch(2)
    assert len(resumed) == 10
    assert list(resumed) == list(whole)[4:]
    resumed.set_epoch(3)
    assert len(list(resumed)) == 10
