"""Tags, tempo and key of a store's tracks: found, kept, and given to the model by window."""

import numpy as np
import pytest
import torch

from audio import files as audio
from datamodules.features import Described, FeatureHeader, Features
from datamodules.token_data import TokenDataModule
from foundation.errors import UserError
from metrics.describe import COLUMNS, STEP, TAGS, Describer
from metrics.musicality import RATE
from metrics.musicnn import Musicnn, Network
from tests.datamodules.test_token_store import encode

HEADER = FeatureHeader(COLUMNS, 3.0, "me")


def rows(count: int, **values: float) -> torch.Tensor:
    made = torch.full((count, len(COLUMNS)), 0.0)
    for name, value in values.items():
        made[:, COLUMNS.index(name)] = value
    return made


def test_descriptions_are_averaged_over_a_window_and_tempi_by_their_median(tmp_path):
    features = Features.create(tmp_path, HEADER)
    parts = [rows(1, piano=0.2, tempo=100), rows(1, piano=0.6, tempo=200), rows(2, tempo=100)]
    features.write("a", parts)
    described = Described(Features.open(tmp_path), ("piano", "new"), 0.5)
    cond = described.cond("a", 0, 18)  # 9 s
    torch.testing.assert_close(cond["tags"][0], torch.tensor(0.8 / 3), atol=1e-3, rtol=0)
    assert cond["tags"][1].isnan() and cond["tempo"] == 100 and cond["key"].shape == (24,)
    assert float(described.cond("a", 6, 12)["tags"][0]) == pytest.approx(0.6, abs=1e-3)
    assert described.cond("a", 90, 99)["tempo"] == 100  # past the end: the last row
    assert described.cond("b", 0, 9)["tags"].isnan().all()


def test_only_tags_that_the_music_has_are_conditions(tmp_path):
    features = Features.create(tmp_path, HEADER)
    features.write("a", [rows(99, piano=0.3, drums=0.05), rows(1, piano=0.9)])
    known = features.conditions(["a"])
    assert list(known.tags) == ["piano"] and known.tags["piano"] == pytest.approx(0.3, abs=0.01)
    assert known.tempo and known.key and features.has("a") and not features.has("b")
    with pytest.raises(UserError, match="was made by me: delete it"):
        Features.create(tmp_path, FeatureHeader(COLUMNS, 3.0, "other"))
    with pytest.raises(UserError, match="no training track is described"):
        features.conditions(["b"])


def test_a_damaged_description_is_named(tmp_path):
    features = Features.create(tmp_path, HEADER)
    np.save(features.folder / "a.npy", np.zeros((2, 3), np.float16))
    with pytest.raises(UserError, match=r"a.npy is damaged: it has shape \[2, 3\]"):
        features.rows("a")
    with pytest.raises(UserError, match="aren't described: run encode with --tags true"):
        Features.open(tmp_path / "none")


def test_a_track_is_described_every_three_seconds_as_its_clips_are():
    torch.manual_seed(0)
    describer = Describer(musicnn=Musicnn(net=Network()))
    song = torch.rand(1, 7 * RATE) - 0.5
    made = torch.cat(list(describer.track(lambda a, b: song[:, a:b], song.shape[1])))
    assert made.shape == (2, len(COLUMNS)) and len(TAGS) == 50 == len(set(TAGS))
    second = song[None, :, STEP * RATE : 2 * STEP * RATE]
    torch.testing.assert_close(made[1:, :50], describer.tags(second, RATE))


def test_the_data_module_asks_for_descriptions_of_its_store(tmp_path):
    audio.write(tmp_path / "music" / "a.wav", torch.rand(1, 8000), 8000)
    store, _ = encode(tmp_path / "music", tmp_path / "store")
    data = TokenDataModule(tokens=str(store.folder), tags=True)
    assert data.tags
    with pytest.raises(UserError, match="aren't described"):
        Features.open(store.folder)
