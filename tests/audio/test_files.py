import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from audio.resample import resample_sinc
from foundation.errors import UserError

RATE = 44100
FORMATS = {
    "a.wav": {},
    "f.WAV": {"subtype": "FLOAT"},
    "a.flac": {},
    "a.ogg": {},
    "a.mp3": {},
    "a.aiff": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
}


def make(path, seconds=1.5, rate=RATE, channels=2, **options):
    random = np.random.default_rng(0)
    samples = 0.1 * random.standard_normal((round(seconds * rate), channels))
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_crop_is_a_slice_of_the_whole_at_every_rate(tmp_path, name):
    rate = 48000 if name.endswith("opus") else RATE
    path = make(tmp_path / name, rate=rate, **FORMATS[name])
    whole = audio_files.read(path)
    info = audio_files.probe(path)
    assert (info.sample_rate, info.channels, info.num_samples) == (rate, 2, whole.shape[1])
    for target in (None, 48000, 16000):
        expected = resample_sinc(whole, rate, target or rate)
        total = expected.shape[1]
        assert info.num_samples_at(target or rate) == total
        for start in (0, 1, 7777, total // 2, total - 1001, total - 300):
            crop = audio_files.read(path, start, 1000, target)
            torch.testing.assert_close(crop, expected[:, start : start + 1000], atol=1e-4, rtol=0)


def test_channels_are_averaged_or_repeated(tmp_path):
    stereo = audio_files.read(make(tmp_path / "a.wav"), 0, 100)
    mono = audio_files.read(tmp_path / "a.wav", 0, 100, channels=1)
    torch.testing.assert_close(mono, stereo.mean(0, keepdim=True))
    make(tmp_path / "m.wav", channels=1)
    doubled = audio_files.read(tmp_path / "m.wav", 0, 100, channels=2)
    assert doubled.shape == (2, 100) and torch.equal(doubled[0], doubled[1])


def test_reading_outside_a_file_is_an_error_and_the_end_is_short(tmp_path):
    path = make(tmp_path / "a.wav", seconds=0.1)
    assert audio_files.read(path, 4400, 100).shape == (2, 10)
    for start, length in ((4410, 1), (-1, 10), (0, 0)):
        with pytest.raises(ValueError, match="a.wav"):
            audio_files.read(path, start, length)


def test_broken_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("no audio at all" * 20)
    (tmp_path / "empty.flac").touch()
    whole = make(tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    nan = np.full((100, 1), np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", nan, RATE, subtype="FLOAT")
    for name in ("text.wav", "empty.flac", "cut.flac", "nan.wav"):
        with pytest.raises(audio_files.AudioError, match=name):
            audio_files.check(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="none.wav"):
        audio_files.probe(tmp_path / "none.wav")


@pytest.mark.parametrize("content", [b"", b"no audio at all" * 200, b"\0" * 5000])
@pytest.mark.parametrize("suffix", [".mp3", ".flac"])
def test_decoders_print_nothing_of_a_file_that_is_no_audio(tmp_path, content, suffix, capfd):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        audio_files.AudioError, match="it is empty" if not content else "known|reco"
    ):
        audio_files.probe(path)
    assert capfd.readouterr() == ("", "")


def test_a_wav_called_mp3_is_read(tmp_path):
    path = make(tmp_path / "a.wav")
    whole = audio_files.read(path)
    torch.testing.assert_close(audio_files.read(path.rename(tmp_path / "a.mp3")), whole)


def test_find(tmp_path):
    for name in ("b.WAV", "sub/a.Mp3", "._b.wav", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    assert audio_files.find(tmp_path) == [tmp_path / "b.WAV", tmp_path / "sub/a.Mp3"]
    assert audio_files.find(tmp_path / "b.WAV") == [tmp_path / "b.WAV"]
    with pytest.raises(ValueError, match="looked for .wav"):
        audio_files.find(tmp_path / "note.txt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        audio_files.find(tmp_path / "nowhere")


def test_write_and_read_back(tmp_path):
    samples = torch.randn(2, 500)
    audio_files.write(tmp_path / "f.wav", samples, RATE, "FLOAT")
    assert torch.equal(audio_files.read(tmp_path / "f.wav"), samples)
    audio_files.write(tmp_path / "p.flac", samples, RATE)
    back = audio_files.read(tmp_path / "p.flac")
    torch.testing.assert_close(back, samples.clamp(-1, 1), atol=2**-15, rtol=0)
    audio_files.write(tmp_path / "again.wav", back, RATE)
    assert torch.equal(audio_files.read(tmp_path / "again.wav"), back)
    assert len(list(tmp_path.iterdir())) == 3  # no temporary file is left
    for name, format in (("a.mp3", "PCM16"), ("a.flac", "FLOAT"), ("a.wav", "PCM24")):
        with pytest.raises(ValueError, match="can't write"):
            audio_files.write(tmp_path / name, samples, RATE, format)


@pytest.mark.parametrize("peak", [1e30, 32768.0, 9.0])
def test_samples_beyond_the_bound_are_left_out_clipped_or_scaled(tmp_path, peak, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "a.wav"
    samples = 0.5 * np.ones(4000, np.float32)
    samples[3000] = -peak
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    for start in (0, 3000):  # a part without the spike is of the same file
        with pytest.raises(audio_files.AudioError, match="a.wav .* full scale is 1 .*too_loud"):
            audio_files.read(path, start, 500)
        clipped = audio_files.read(path, start, 500, too_loud="clip")
        assert clipped.abs().max() == (1 if start else 0.5)
    with pytest.raises(audio_files.AudioError, match="a.wav"):
        audio_files.check(path)
    full = {1e30: 1e30, 32768.0: 2**15, 9.0: 2**7}[peak]
    scaled = audio_files.read(path, too_loud="scale")
    np.testing.assert_allclose(scaled[0].numpy(), samples / full, rtol=1e-6)
    with pytest.raises(UserError, match="too_loud must be skip or clip or scale"):
        audio_files.read(path, too_loud="louder")


def test_a_mix_somewhat_over_full_scale_stays_as_it_is(tmp_path):
    samples = np.linspace(-2, 2, 100, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert np.array_equal(audio_files.read(tmp_path / "a.wav")[0].numpy(), samples)
    assert audio_files.probe(tmp_path / "a.wav").peak == 2


def test_other_files_are_counted_by_kind_and_named(tmp_path):
    for name in ("a.wav", "b.m4a", "c.mkv", "d.aifc", "e.caf", "f.w64", "g.au", "h.wma"):
        (tmp_path / name).touch()
    assert audio_files.left_out(tmp_path) == ""
    for name in ("1.jpg", "2.JPG", "3.jpg", "4.jpg", "song.mid", "README"):
        (tmp_path / name).touch()
    assert audio_files.left_out(tmp_path) == (
        "4 .jpg (1.jpg, 2.JPG, 3.jpg, …), 1 .mid (song.mid), 1 without suffix (README)"
    )
    assert len(audio_files.find(tmp_path)) == 8


@pytest.mark.parametrize("name", ["a.au", "a.caf", "a.w64", "a.aifc"])
def test_more_of_libsndfiles_formats_are_found_and_read(tmp_path, name):
    kind = {"format": "AIFF"} if name == "a.aifc" else {}
    path = make(tmp_path / name, 0.2, **kind)
    assert audio_files.find(tmp_path) == [path]
    assert audio_files.check(path).num_samples == round(0.2 * RATE)
