"""The page of a run while it trains, and the music that its demos are compared with."""

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from audio import files as audio
from audio.page.curves import read_curves
from callbacks.checkpoint import StepCheckpoint
from callbacks.demo import Demo
from callbacks.listening_page import ListeningPage
from callbacks.run_folder import RunFolder
from tests.callbacks.toy import Toy, fit

SHORT = {"num_demos": 1, "seconds": 0.05}
RATE = 8000


class Codec(torch.nn.Module):
    """Halves what it is given."""

    sample_rate = RATE

    def encode(self, segment):
        return segment

    def decode(self, tokens):
        return tokens / 2

    def check_decoded(self, audio, tokens):
        return audio


class Coded(Toy):
    codec = Codec()

    def demo(self, *args, **kwargs):
        return {"sample": super().demo(*args, **kwargs)["noise"]}


def test_each_validation_writes_the_page(tmp_path):
    pages = []

    class Watch(ListeningPage):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            page = tmp_path / "index.html"
            pages.append(page.read_text().count("<audio") if page.is_file() else 0)

    fit(tmp_path, [Watch(), Demo(**SHORT)], 9)
    assert pages == [0, 1, 1]  # the sanity check has none; later demos are the same noise again
    curves = read_curves(tmp_path)
    assert list(curves["val/loss"]) == [4, 8]


def test_a_resumed_run_keeps_its_curves_and_a_new_one_starts_its_own(tmp_path):
    def train(max_steps, path=None):
        resumed = str(tmp_path / "checkpoints/last.ckpt") if path else None
        fit(
            tmp_path, [RunFolder(resumed), StepCheckpoint(), ListeningPage()], max_steps, None, path
        )
        return list(read_curves(tmp_path)["val/loss"])

    assert train(9) == [4, 8]
    assert train(13, "last") == [4, 8, 12]
    assert train(9) == [4, 8]
    assert "12" in (tmp_path / "earlier_1/curves.csv").read_text()
    assert (tmp_path / "earlier_1/index.html").is_file()


def test_the_logs_steps_are_in_the_curves(tmp_path):
    fit(tmp_path, [ListeningPage()], 9, logger=CSVLogger(tmp_path))
    assert "val/loss" in (tmp_path / "index.html").read_text()


def test_a_failing_page_warns_and_training_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("audio.page.write.render", lambda *_: 1 / 0)
    module = fit(tmp_path, [ListeningPage()], 9)
    assert len(module.trajectory) == 9 and "ZeroDivisionError" in caplog.text


def test_fast_dev_run_writes_no_page(tmp_path):
    fit(tmp_path, [ListeningPage()], 1, fast_dev_run=True)
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize("seconds", [1.0, 0.01])
def test_originals_and_round_trips_are_as_long_as_samples(tmp_path, monkeypatch, seconds):
    tone = 0.5 * torch.sin(torch.arange(round(seconds * RATE)) / 5)[None]
    audio.write(tmp_path / "a.wav", tone, RATE)
    monkeypatch.setattr(
        "callbacks.reference_clips.validation_files", lambda _: [tmp_path / "a.wav"]
    )
    fit(tmp_path / "run", [Demo(**SHORT), ListeningPage()], 9, Coded())
    folder = tmp_path / "run/demos/reference"
    if seconds < SHORT["seconds"]:  # too short to compare with
        assert not folder.exists()
        return
    original, rendered = (audio.read(folder / f"{n}_0.wav") for n in ("original", "round_trip"))
    sample = audio.read(tmp_path / "run/demos/step_00000004/sample_0.wav")
    assert original.shape[-1] == rendered.shape[-1] == sample.shape[-1] == 400
    torch.testing.assert_close(rendered, original / 2, atol=1e-4, rtol=0)
    assert "demos/reference/round_trip_0.wav" in (tmp_path / "run/index.html").read_text()
