"""Embeddings: their interface, their weights, levels and rates."""

import math
import pickle
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audio.resample import resample_kaiser_best
from foundation.errors import MissingFileError, UserError
from foundation.weights import read_state
from metrics import library
from metrics.embedding import CHECKPOINTS, Embedding, levelled
from metrics.embedding_names import make_embedding
from metrics.logmel import LogMel
from metrics.mel import slaney_filters
from metrics.musicnn import FILE, Musicnn, Network
from metrics.musicnn_convert import FOLDER, convert, rename
from metrics.pann import PANN, Cnn14, Fourier
from metrics.vggish import VGGish
from tests.metrics.tensorflow_table import tensorflow_index


def test_vectors_of_other_options_of_an_embedding_are_not_compared():
    class Weighted(LogMel):
        def __init__(self, emphasis: float = 0.0):
            super().__init__()
            self.emphasis = emphasis

    assert Weighted().fingerprint == Weighted(0.0).fingerprint != Weighted(0.9).fingerprint


def test_vectors_of_an_own_class_whose_code_changed_are_not_compared(tmp_path, monkeypatch):
    def made(module: str, factor: int) -> str:
        (tmp_path / f"{module}.py").write_text(
            "from metrics.logmel import LogMel\n\n\nclass Mine(LogMel):\n    name = 'mine'\n\n"
            f"    def embed(self, examples):\n        return {factor} * super().embed(examples)\n"
        )
        monkeypatch.delitem(sys.modules, module, raising=False)
        return make_embedding(f"{module}.Mine").fingerprint

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    marks = [made("lab_one", 1), made("lab_one", 333), made("lab_two", 333)]
    assert len(set(marks)) == 3 and made("lab_one", 1) == marks[0]


class Tiny(Cnn14):
    """The front-end of Cnn14 and no network to speak of."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.spectrogram_extractor = torch.nn.ModuleDict({"stft": Fourier(512, 160)})
        filters = slaney_filters(16000, 512, 64, 50, 8000)
        mel = torch.nn.Parameter(filters, requires_grad=False)
        self.logmel_extractor = torch.nn.ParameterDict({"melW": mel})

    def embed(self, mel: torch.Tensor) -> torch.Tensor:
        return mel.mean(dim=1).repeat(1, 32)


def musicnn(seed: int = 0) -> Musicnn:
    torch.manual_seed(seed)
    return Musicnn(net=Network())


def tone(seconds: float, rate: int = 16000, frequency: float = 440.0) -> torch.Tensor:
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency * t).float()[None, None]


@pytest.mark.parametrize("make", [musicnn, LogMel, lambda: PANN(16000, net=Tiny())])
def test_clips_in_a_batch_are_embedded_as_each_alone(make):
    model: Embedding = make()
    clips = torch.cat(
        [tone(7, frequency=f) + 0.1 * torch.randn(1, 1, 7 * 16000) for f in (300, 900)]
    )
    together = model(clips, batch_size=3)
    alone = torch.cat([model(clip[None]) for clip in clips])
    assert together.shape[1] == model.dim and len(together) % 2 == 0
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    stereo = clips.expand(-1, 2, -1)
    torch.testing.assert_close(model(stereo), alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", [musicnn, LogMel, lambda: PANN(16000, net=Tiny())])
def test_the_shortest_clip_gives_one_vector_and_less_gives_none(make):
    model: Embedding = make()
    audio = torch.randn(1, 1, model.shortest) * 0.1
    assert model(audio).shape == (1, model.dim)
    assert model(audio[..., 1:]).shape == (0, model.dim)


def test_pann_gives_a_vector_each_ten_seconds():
    audio = torch.randn(1, 1, 25 * 16000) * 0.1
    assert len(PANN(16000, net=Tiny())(audio)) == 2
    assert len(PANN(16000, net=Tiny(), clip_seconds=None)(audio)) == 1
    assert len(PANN(16000, net=Tiny())(audio[..., : 4 * 16000])) == 1


def test_the_level_of_a_clip_makes_no_difference_where_it_is_set():
    model = LogMel()
    clip = tone(3) + 0.1 * torch.randn(1, 1, 48000)
    torch.testing.assert_close(model(clip / 100), model(clip), atol=1e-2, rtol=1e-3)
    assert "level -20 dB" in model.settings
    quiet = torch.full((1, 100), 1e-5)
    assert torch.equal(levelled(quiet, -20.0), quiet)  # silence stays silence
    loud = levelled(tone(1)[0], -20.0)
    assert 20 * loud.square().mean().sqrt().log10() == pytest.approx(-20, abs=1e-3)


@pytest.mark.parametrize(
    "old, new", [(44100, 16000), (22050, 16000), (48000, 16000), (8000, 32000)]
)
def test_resampling_keeps_a_tone_and_drops_what_can_not_be_kept(old, new):
    kept = resample_kaiser_best(tone(1, old, 1000.0), old, new)
    assert kept.shape[-1] == new
    middle = slice(new // 10, -new // 10)
    torch.testing.assert_close(
        kept[..., middle], tone(1, new, 1000.0)[..., middle], atol=2e-3, rtol=0
    )
    if old > 2 * 9500 > new:
        assert resample_kaiser_best(tone(1, old, 9500.0), old, new)[..., middle].abs().max() < 1e-3


def test_fingerprints_tell_weights_and_settings_apart():
    prints = {musicnn(0).fingerprint, musicnn(1).fingerprint, LogMel().fingerprint}
    assert len(prints) == 3 and musicnn(0).fingerprint in prints
    short, whole = (PANN(16000, net=Tiny(), clip_seconds=s).fingerprint for s in (10, None))
    assert short != whole


@pytest.mark.parametrize("audio", [torch.zeros(1, 16000), torch.full((1, 1, 16000), math.nan)])
def test_wrong_audio_is_refused(audio):
    with pytest.raises(ValueError, match="channels|finite"):
        LogMel()(audio)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, entry in (("musicnn",) * 2, ("vggish",) * 2, ("pann_16k", "pann-16k")):
        with pytest.raises(MissingFileError, match=f"python download_ckpts.py {entry}"):
            make_embedding(name)
    with pytest.raises(UserError, match="pip install"):
        monkeypatch.setitem(sys.modules, "frechet_audio_distance", None)
        make_embedding("clap")


def test_an_embedding_is_an_object_a_class_or_a_name(tmp_path, monkeypatch):
    (tmp_path / "ownlab.py").write_text(
        "from metrics.logmel import LogMel\n\n\nclass Mine(LogMel):\n    name = 'mine'\n\n\n"
        "def number():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = LogMel()
    assert make_embedding(model) is model
    for choice in (LogMel, "logmel", "metrics.logmel.LogMel"):
        assert type(make_embedding(choice)) is LogMel
    assert make_embedding("ownlab.Mine").name == "mine"
    for choice, words in (
        ("mfcc", "unknown embedding 'mfcc': there are musicnn"),
        ("ownlab.Other", "ownlab.py has no Other"),
        ("nolab.Mine", f"no module nolab in .*{tmp_path}"),
        ("ownlab.number", "int is no metrics.embedding.Embedding"),
    ):
        with pytest.raises(UserError, match=words):
            make_embedding(choice)


def test_published_pickles_load_and_others_are_refused(tmp_path):
    weights = {"w": torch.ones(2)}
    torch.save({"model": weights, "iteration": np.float64(3)}, tmp_path / "numbers.pth")
    assert torch.equal(read_state(tmp_path / "numbers.pth")["w"], weights["w"])
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    (tmp_path / "cut.pth").write_bytes((tmp_path / "numbers.pth").read_bytes()[:300])
    for name in ("evil.pth", "cut.pth"):
        with pytest.raises(ValueError, match=name):
            read_state(tmp_path / name)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="doesn't fit.*1 unknown"):
        VGGish(tmp_path / "other.pth")


def test_weights_come_out_of_the_package(tmp_path):
    """What is written under TensorFlow's names and layout is read into our network."""
    names = {}
    wanted = {
        key: value for key, value in musicnn().net.state_dict().items() if value.is_floating_point()
    }
    for kind in ("conv2d", "dense", "batch_normalization"):
        for number in range(11):
            layer = f"{kind}_{number}" if number else kind
            parts = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
            names |= {f"{layer}/{part}": np.array(len(names) + i) for i, part in enumerate(parts)}
    places = {int(value): ours for ours, value in rename(names).items()}
    values = {}
    for theirs, marker in names.items():
        if int(marker) in places:
            value = wanted[places[int(marker)]]
            layout = {4: (2, 3, 1, 0), 2: (1, 0)}.get(value.dim())
            values[theirs] = (value.permute(layout) if layout else value).numpy()
    index, data = tensorflow_index(values)
    with zipfile.ZipFile(tmp_path / "musicnn.whl", "w") as archive:
        archive.writestr(f"{FOLDER}/.index", index)
        archive.writestr(f"{FOLDER}/.data-00000-of-00001", data)
    convert(tmp_path / "musicnn.whl", tmp_path / "out/musicnn.safetensors")
    loaded = Musicnn(tmp_path / "out/musicnn.safetensors").net.state_dict()
    for key, value in wanted.items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)
    (tmp_path / "bad.whl").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="bad.whl is not the package musicnn"):
        convert(tmp_path / "bad.whl", tmp_path / "x")


def test_the_library_is_adapted(monkeypatch):
    class Fake:
        def __init__(self, folder, name, sample_rate):
            self.model = torch.nn.Linear(2, 2)

        def get_embeddings(self, clips, sr):
            return np.concatenate([np.full((3, 128), clip.mean()) for clip in clips])

    module = SimpleNamespace(FrechetAudioDistance=Fake)
    monkeypatch.setitem(sys.modules, "frechet_audio_distance", module)
    monkeypatch.setattr(library, "version", lambda name: "0.3.4")
    model = make_embedding("encodec")
    clips = torch.cat((torch.ones(1, 1, 48000), torch.zeros(1, 1, 48000)))
    assert model(clips).mean(dim=1).tolist() == [1, 1, 1, 0, 0, 0]


def test_musicnn_equals_the_original():
    """Every fortieth number, as TensorFlow 2.15 computes it from the package's own checkpoint."""
    if not (CHECKPOINTS / FILE).is_file():
        pytest.skip("needs python download_ckpts.py musicnn")
    t = torch.arange(5 * 16000, dtype=torch.float64) / 16000
    beeps = torch.sin(2 * math.pi * 1370.5 * t) * (t.remainder(0.5) < 0.1)
    audio = 0.4 * torch.sin(2 * math.pi * 220 * t) + 0.25 * beeps
    expected = torch.tensor(
        [
            [-0.0799516141, 3.9042925835, -0.3015012145, -0.3662819266, 0.9068122506],
            [-0.0799516141, 4.1486082077, -0.3015012145, -0.3662819266, 1.1514408588],
        ]
    )
    torch.testing.assert_close(
        Musicnn()(audio.float()[None, None])[:, ::40], expected, atol=1e-4, rtol=1e-4
    )
