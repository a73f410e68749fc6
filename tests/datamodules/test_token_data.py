import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from audio import files as audio_files
from datamodules.token_data import TokenDataModule
from foundation.codec import Codec
from foundation.errors import UserError
from foundation.windows import TokenWindow
from tests.datamodules.test_token_store import Coarse, Smooth, Triple, encode


class Reader(LightningModule):
    """Keep the training batches."""

    def __init__(self, codec: Codec, window: TokenWindow | None):
        super().__init__()
        self.codec, self.token_window = codec, window
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[dict] = []

    def training_step(self, batch, batch_idx):
        self.batches.append(batch)
        return self.weight * next(iter(batch.values())).float().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def music(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, seconds in (("long.wav", 2.0), ("jazz/short.wav", 0.5), ("jazz/other.wav", 2.0)):
        samples = torch.linspace(0, 1, round(8000 * seconds))[None]
        audio_files.write(tmp_path / "music" / name, samples, 8000)
    return tmp_path / "music"


def fit(codec, window, max_steps=3, **options):
    module = Reader(codec, window)
    trainer = Trainer(
        max_steps=max_steps, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    data = TokenDataModule(**{"batch_size": 3, "val_fraction": 0, **options})
    trainer.fit(module, data)
    return module.batches, data


@pytest.mark.parametrize("codec, books", [(Coarse(), 1), (Triple(), 3)], ids=["one", "three"])
def test_batches_are_grids_with_their_context(music, codec, books):
    batches, _ = fit(codec, TokenWindow(100, context=20), audio=str(music))
    for batch in batches:
        assert batch["tokens"].shape == (3, books, 100) and batch["tokens"].dtype == torch.long
        assert batch["context"].shape == (3, books, 20)
        first, rest = batch["tokens"][:, :1], batch["tokens"][:, 1:]
        assert torch.equal(rest, (first + torch.arange(1, books)[:, None]) % 8)


def test_latents_come_with_their_context_and_none_of_the_tokens(music):
    window = TokenWindow(100, 20, {"latents": "latents"})
    batches, data = fit(Smooth(), window, audio=str(music))
    assert data.store.header.streams == ("latents",)
    for batch in batches:
        assert batch["latents"].shape == (3, 2, 100) and batch["latents"].dtype == torch.float32
        assert batch["context"].shape == (3, 2, 20) and "tokens" not in batch
        assert torch.equal(batch["latents"][:, 0], -batch["latents"][:, 1])


def test_short_tracks_are_repeated_and_counted_in_seconds(music, caplog):
    batches, data = fit(Coarse(), TokenWindow(100), audio=str(music), windows_per_epoch=9)
    message = "1 of 3 training tracks are shorter than an example's 0.80 s: repeated"
    assert message in caplog.text
    windows = data.windows(data.train_tracks)
    short = next(track for track in data.train_tracks if track.name == "jazz/short.wav")
    tokens = windows.cut(short, 0)["tokens"]
    assert len(short) == 63 and torch.equal(tokens[:, 63:], tokens[:, :37])
    _, data = fit(Coarse(), TokenWindow(100), audio=str(music), short="skip")
    assert len(data.train_tracks) == 2
    with pytest.raises(UserError, match="all training tracks are shorter than an example's 8.00 s"):
        fit(Coarse(), TokenWindow(1000), audio=str(music), short="skip")


def test_metadata_reaches_the_model_from_folder_and_store(music, tmp_path, caplog):
    sidecar = tmp_path / "tags.csv"
    sidecar.write_text("track,mood\njazz/other.wav,calm\nnone.wav,sad\n")
    expected = {("", ""), ("jazz", ""), ("jazz", "calm")}
    store, _ = encode(music, tmp_path / "store")

    def seen(**options):
        batches, _ = fit(Coarse(), TokenWindow(20), max_steps=9, **options)
        return {
            pair
            for batch in batches
            for pair in zip(batch["cond"]["folder"], batch["cond"]["mood"], strict=True)
        }

    assert seen(audio=str(music), sidecar=str(sidecar)) == expected
    assert caplog.text.count("1 of 2 tracks aren't in the music folder") == 1
    assert seen(audio=str(music)) == expected  # from the store in the cache
    assert seen(tokens=str(store.folder), sidecar=str(sidecar)) == expected
    encode(music, tmp_path / "store", sidecar)
    assert seen(tokens=str(store.folder)) == expected


def test_the_music_is_described(music, tmp_path):
    _, data = fit(Coarse(), TokenWindow(100), audio=str(music), licence="cc0-1.0")
    described = data.describe()
    assert described["folder"] == "music" and described["licence"] == "cc0-1.0"
    assert described["tracks"] == 3 and abs(described["hours"] * 3600 - 4.5) < 0.03
    store, _ = encode(music, tmp_path / "store")
    _, stored = fit(Coarse(), TokenWindow(100), tokens=str(store.folder))
    assert stored.describe()["sha256"] == described["sha256"]
    (music / "long.wav").unlink()
    _, fewer = fit(Coarse(), TokenWindow(100), audio=str(music))
    assert fewer.describe()["sha256"] != described["sha256"]


def test_what_does_not_fit_is_named(music, tmp_path):
    store, _ = encode(music, tmp_path / "store")
    with pytest.raises(UserError, match="Reader reads audio, not tokens"):
        fit(Coarse(), None, tokens=str(store.folder))
    with pytest.raises(UserError, match="made by codec coarse"):
        fit(Triple(), TokenWindow(20), tokens=str(store.folder))
    (store.folder / "index.table").unlink()
    with pytest.raises(UserError, match="isn't finished: run encode again"):
        fit(Coarse(), TokenWindow(20), tokens=str(store.folder))
