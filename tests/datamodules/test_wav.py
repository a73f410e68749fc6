import logging

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from audio import files as audio_files
from datamodules.tracks import Track, Tracks, split
from datamodules.wav import AudioWindows, Augment, WavDataModule
from datamodules.windows import FixedWindows, RandomWindows
from foundation.errors import UserError
from foundation.windows import AudioWindow
from tests.audio.encoded import encode as encoded

RATE = 8000


class Recorder(LightningModule):
    """Keep the sum and the metadata of every training batch."""

    def __init__(self, window: AudioWindow):
        super().__init__()
        self.window = window
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[float] = []
        self.conds: list[dict[str, list[str]]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["audio"].double().abs().sum().item())
        self.conds.append(batch["cond"])
        return self.weight * batch["audio"].mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for k in range(5):
        samples = 0.3 * torch.rand(2, RATE // 2 + 100 * k, generator=generator)
        audio_files.write(tmp_path / "music" / f"{k}.wav", samples, RATE)
    return tmp_path / "music"


def fit(folder, tmp_path, ckpt_path=None, window=None, callbacks=(), data=None, **options):
    module = Recorder(window or AudioWindow(RATE, 400))
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        **options,
    )
    data = WavDataModule(str(folder), **{"batch_size": 4, **(data or {})})
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=False)
    return module.seen, data


@pytest.mark.parametrize("steps", [1, 5, 10, 13])
@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 20}])
def test_a_resumed_run_sees_exactly_the_next_batches(folder, tmp_path, steps, limit):
    options = {"data": {"val_fraction": 0.2}, **limit}
    whole, data = fit(folder, tmp_path, **options)
    assert len(data.train_dataloader()) == 10 and len(whole) == 20
    every = ModelCheckpoint(tmp_path / "ckpt", "{step}", every_n_train_steps=1, save_top_k=-1)
    fit(folder, tmp_path, callbacks=[every], **options)
    resumed, _ = fit(folder, tmp_path, tmp_path / f"ckpt/step={steps}.ckpt", **options)
    assert resumed == whole[steps:]


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_epochs": -1, "max_steps": 24}])
def test_a_run_saved_at_an_epochs_end_resumes(folder, tmp_path, limit):
    options = {"limit_train_batches": 8, "data": {"num_workers": 1}, **limit}
    whole, _ = fit(folder, tmp_path, **options)
    after = ModelCheckpoint(
        tmp_path / "ckpt", "{step}", save_top_k=-1, save_on_train_epoch_end=True
    )
    fit(folder, tmp_path, callbacks=[after], **options)
    assert fit(folder, tmp_path, tmp_path / "ckpt/step=8.ckpt", **options)[0] == whole[8:]


def test_accumulated_steps_resume(folder, tmp_path):
    options = {"max_epochs": 2, "accumulate_grad_batches": 2, "limit_train_batches": 8}
    whole, _ = fit(folder, tmp_path, **options)
    every = ModelCheckpoint(tmp_path / "ckpt", "{step}", every_n_train_steps=1, save_top_k=-1)
    fit(folder, tmp_path, callbacks=[every], **options)
    for steps in (3, 4, 6):
        resumed, _ = fit(folder, tmp_path, tmp_path / f"ckpt/step={steps}.ckpt", **options)
        assert resumed == whole[2 * steps :]


def test_workers_do_not_change_the_batches(folder, tmp_path):
    augmented = {"gain_db": 6.0, "channel_swap": 0.5, "phase_invert": 0.5}
    first, _ = fit(folder, tmp_path, max_epochs=2, data=augmented)
    second, _ = fit(folder, tmp_path, max_epochs=2, data={**augmented, "num_workers": 2})
    assert first == second and len(set(first)) == len(first)


def test_windows_are_slices_with_their_context(folder):
    window = AudioWindow(RATE, 400, context=200, align=100, channels=2)
    path = folder / "0.wav"
    whole = audio_files.read(path)
    windows = AudioWindows(Tracks.of([Track(path, "0.wav", 0, whole.shape[1])]), window)
    first = windows.cut(windows.tracks[0], 0)
    assert first["context"].shape == (2, 200) and not first["context"].any()
    assert torch.equal(first["audio"], whole[:, :400])
    for start in (100, 300, 3600):
        example = windows.cut(windows.tracks[0], start)
        both = torch.cat([example["context"], example["audio"]], dim=1)
        expected = torch.cat([torch.zeros(2, 200), whole], dim=1)[:, start : start + 600]
        assert torch.equal(both, expected)
    drawn = RandomWindows(windows, None, 0)
    slices = whole.unfold(1, 400, 100)  # [C, places, 400]
    for index in range(len(drawn)):
        window = drawn[0, index]["audio"]
        assert (slices == window[:, None]).all(-1).all(0).any()


def test_validation_windows_are_adjacent(folder):
    whole = audio_files.read(folder / "0.wav")
    track = Track(folder / "0.wav", "0.wav", 0, 4000)
    windows = AudioWindows(Tracks.of([track]), AudioWindow(RATE, 400, channels=2))
    every = FixedWindows(windows, None)
    assert torch.equal(torch.cat([every[0, k]["audio"] for k in range(10)], dim=1), whole)
    few = FixedWindows(windows, 3)  # the middles of thirds
    assert torch.equal(
        torch.cat([few[0, k]["audio"] for k in range(len(few))], dim=1),
        torch.cat([every[0, k]["audio"] for k in (1, 5, 8)], dim=1),
    )


def test_validation_windows_can_be_longer(folder):
    data = WavDataModule(str(folder), batch_size=1)
    module = Recorder(AudioWindow(RATE, 400, val_length=1600))
    data.trainer = Trainer(logger=False, enable_checkpointing=False)
    data.trainer.strategy.connect(module)
    data.setup()
    assert next(iter(data.val_dataloader()))["audio"].shape == (1, 1, 1600)
    assert next(iter(data.train_dataloader()))["audio"].shape == (1, 1, 400)


def test_augmentation_is_off_by_default_and_never_clips():
    import random

    samples = torch.rand(2, 50) - 0.5
    assert torch.equal(Augment()(samples, random.Random(0)), samples)
    assert torch.equal(Augment(channel_swap=1)(samples, random.Random(0)), samples.flip(0))
    assert torch.equal(Augment(phase_invert=1)(samples, random.Random(0)), -samples)
    louder = [Augment(gain_db=40)(samples, random.Random(k)).abs().max() for k in range(9)]
    assert max(louder) <= 1 and len(set(louder)) > 3


def test_the_split_keeps_old_tracks_in_place():
    def tracks(count):
        return Tracks.of([Track(None, f"{k}.wav", 0, 10) for k in range(count)])

    train, validation = split(tracks(100), 0.2)
    more_train, more_validation = split(tracks(150), 0.2)
    assert 10 <= len(validation) <= 30
    assert set(train) <= set(more_train) and set(validation) <= set(more_validation)
    for count in (2, 3):
        for fraction in (0.01, 0.99):
            assert all(split(tracks(count), fraction))
    (train,), (validation,) = split(tracks(1), 0.3)
    assert (train.start, train.stop, validation.start, validation.stop) == (0, 7, 7, 10)


def test_bad_short_and_resampled_files_are_reported(folder, tmp_path, caplog):
    (folder / "text.wav").write_text("no audio at all" * 20)
    whole = folder / "whole.flac"
    audio_files.write(whole, torch.rand(1, RATE), RATE)
    (folder / "cut.flac").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    audio_files.write(folder / "short.wav", torch.rand(1, 100), RATE)
    audio_files.write(folder / "other.wav", torch.rand(1, 16000), 16000)
    with caplog.at_level(logging.INFO):
        _, data = fit(folder, tmp_path, max_steps=2, data={"short": "skip", "val_fraction": 0})
    assert {track.name for track in data.train_tracks} == {
        *(f"{k}.wav" for k in range(5)),
        *("whole.flac", "other.wav"),
    }
    for message in ("text.wav", "cut.flac"):
        assert caplog.text.count(message) == 1
    for message in ("2 of 10 files", "1 of 8 training tracks", "1 at 16000 Hz"):
        assert message in caplog.text


def test_nothing_to_train_on_is_one_line(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(folder / "nowhere", tmp_path, max_steps=1)
    with pytest.raises(ValueError, match="shorter"):
        fit(folder, tmp_path, max_steps=1, window=AudioWindow(RATE, RATE), data={"short": "skip"})
    for path in folder.iterdir():
        path.write_text("broken")
    with pytest.raises(ValueError, match="none of the 5"):
        fit(folder, tmp_path, max_steps=1)


def test_a_track_shorter_than_the_window_is_padded(folder):
    windows = AudioWindows(
        Tracks.of([Track(folder / "0.wav", "0.wav", 0, 4000)]), AudioWindow(RATE, 5000)
    )
    example = RandomWindows(windows, None, 0)[0, 0]["audio"]
    assert example.shape == (1, 5000) and example[:, :4000].all() and not example[:, 4000:].any()


def test_the_old_names_of_options_are_read_with_a_notice(caplog):
    data = WavDataModule(crops_per_epoch=5, val_crops=None)
    assert (data.windows_per_epoch, data.val_windows) == (5, None)
    assert "crops_per_epoch is now called windows_per_epoch" in caplog.text
    caplog.clear()
    data = WavDataModule(windows_per_epoch=6)
    assert (data.windows_per_epoch, data.val_windows) == (6, 64) and not caplog.text


def test_settings_that_cannot_work_are_named():
    for option in (
        {"batch_size": 0},
        {"num_workers": -1},
        {"num_workers": 99999},
        {"val_windows": 0},
        {"short": "cut"},
    ):
        (name,) = option
        with pytest.raises(UserError, match=name):
            WavDataModule(**option)
    with pytest.raises(UserError, match="channel_swap must be between 0 and 1, got 2"):
        WavDataModule(channel_swap=2)


def test_short_tracks_are_padded_with_silence(folder, tmp_path, caplog):
    fit(folder, tmp_path, max_steps=1, window=AudioWindow(RATE, 4100), data={"val_fraction": 0})
    message = "1 of 5 training tracks are shorter than an example's 0.51 s: padded with silence"
    assert message in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_metadata_reaches_the_model(folder, tmp_path, caplog, workers):
    (folder / "jazz" / "live").mkdir(parents=True)
    (folder / "3.wav").rename(folder / "jazz" / "3.wav")
    (folder / "4.wav").rename(folder / "jazz" / "live" / "4.wav")
    sidecar = tmp_path / "tags.csv"
    sidecar.write_text("track,mood,bpm\njazz/3.wav,calm,90\n0.wav,,120\ngone.wav,sad,1\n")
    options = {"sidecar": str(sidecar), "batch_size": 5, "val_fraction": 0, "num_workers": workers}
    seen = {}
    module = Recorder(AudioWindow(RATE, 4400))
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, WavDataModule(str(folder), **options))
    (cond,) = module.conds
    seen = set(zip(cond["folder"], cond["mood"], cond["bpm"], strict=True))
    assert seen == {("", "", "120"), ("", "", ""), ("jazz", "calm", "90"), ("jazz/live", "", "")}
    assert caplog.text.count("1 of 3 tracks aren't in the music folder") == 1
    assert "gone.wav" in caplog.text


@pytest.mark.parametrize("too_loud", ["skip", "clip", "scale"])
def test_a_spike_reaches_no_batch(folder, tmp_path, caplog, too_loud, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    samples = 0.1 * torch.rand(1, 4000)
    samples[0, 1000] = 1e30
    audio_files.write(folder / "spike.wav", samples, RATE, "FLOAT")
    options = {"val_fraction": 0, "too_loud": too_loud}
    seen, data = fit(folder, tmp_path, max_epochs=1, data=options)
    assert max(seen) < 4 * 400 and "spike.wav" in caplog.text
    assert len(data.train_tracks) == (5 if too_loud == "skip" else 6)


def test_sound_in_other_formats_is_trained_on_and_other_files_are_named(folder, tmp_path, caplog):
    encoded(folder / "film.mp4", "aac", 0.1 * np.random.rand(2, 16000), 16000)
    for name in ("cover.jpg", "song.mid"):
        (folder / name).touch()
    with caplog.at_level(logging.INFO):
        _, data = fit(folder, tmp_path, max_steps=1, data={"val_fraction": 0})
    assert len(data.train_tracks) == 6
    assert "no known audio format, left out: 1 .jpg (cover.jpg), 1 .mid (song.mid)" in caplog.text
