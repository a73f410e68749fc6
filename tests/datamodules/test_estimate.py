import pytest
import torch

from audio import files as audio_files
from datamodules import token_data
from datamodules.estimate import Estimate
from foundation.errors import UserError
from foundation.windows import TokenWindow
from tests.datamodules.test_store_merge import Counting
from tests.datamodules.test_token_data import fit
from tests.datamodules.test_token_store import Coarse


def test_time_left_grows_with_the_bytes_left(tmp_path):
    paths = [tmp_path / f"{size}" for size in (100, 100, 800)]
    for path in paths:
        path.write_bytes(bytes(int(path.name)))
    times = iter([0.0, 20.0, 3600.0, 7200.0])
    work = Estimate(paths, lambda: next(times))
    assert [work.hours_left(done) for done in (1, 2, 3)] == [0.0, 4.0, 0.0]


def test_fit_asks_for_long_work_to_be_done_before_unless_told_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for index in range(3):
        audio_files.write(tmp_path / f"music/{index}.wav", torch.rand(1, 8000), 8000)
    music = str(tmp_path / "music")
    monkeypatch.setattr(token_data.Estimate, "hours_left", lambda self, done: 2.5 * (done == 2))
    message = (
        r"encoding 1 more tracks would take about 2.5 hours .* encode .*music --codec .*Coarse"
    )
    with pytest.raises(UserError, match=message):
        fit(Coarse(), TokenWindow(20), audio=music)
    codec = Counting()
    fit(codec, TokenWindow(20), audio=music, encode_hours=None)
    assert codec.count == 1  # what was encoded is kept
