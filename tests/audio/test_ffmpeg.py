import av
import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from audio.ffmpeg import FFmpeg, decode_all, speakers_of
from audio.survey import Survey
from tests.audio.encoded import encode, noise

RATE = 44100
FORMATS = {  # (codec, how near to the whole a part is: dither is drawn anew)
    "a.m4a": ("aac", 0),
    "a.aac": ("aac", 0),
    "b.m4a": ("alac", 0),
    "a.wma": ("wmav2", 0),
    "a.mp4": ("aac", 0),
    "a.mka": ("libopus", 0),
    "a.avi": ("mp3", 0),
    "a.ts": ("aac", 0),
    "a.mp2": ("mp2", 1e-4),
    "a.wv": ("wavpack", 0),
    "a.mov": ("pcm_s24le", 0),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", FORMATS)
def test_any_part_is_that_of_the_whole_file_decoded(name, tmp_path, monkeypatch):
    codec, near = FORMATS[name]
    rate = 48000 if codec == "libopus" else RATE
    path = encode(tmp_path / name, codec, noise(3.3, rate), rate)
    with av.open(str(path)) as container:  # the whole, by FFmpeg alone
        length = sum(frame.samples for frame in container.decode(audio=0))
    info = audio_files.probe(path)
    assert (info.sample_rate, info.channels, info.num_samples) == (rate, 2, length)
    whole = audio_files.read(path)
    assert whole.shape == (2, length) and abs(length / rate - 3.3) < 0.1
    from_start = []
    read = FFmpeg._read

    def count(self, start, stop, mark):
        from_start.extend([start] if mark is None else [])
        return read(self, start, stop, mark)

    monkeypatch.setattr(FFmpeg, "_read", count)
    starts = (0, 1, rate, 2 * rate + 9999, length - 1001, length - 100)
    for start in starts:
        part = audio_files.read(path, start, 1000)
        torch.testing.assert_close(part, whole[:, start : start + 1000], atol=near, rtol=0)
    assert len(from_start) < len(starts) - 2 or codec == "wavpack"  # others were sought


def test_a_lossless_file_holds_what_was_written(tmp_path):
    samples = np.round(noise(1, RATE) * 2**15) / 2**15
    path = encode(tmp_path / "a.m4a", "alac", samples, RATE)
    assert np.array_equal(audio_files.read(path).numpy(), samples)


def test_a_survey_is_made_once_and_again_where_it_is_damaged(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.m4a", "aac", noise(1, RATE), RATE)
    survey = decode_all(path)
    survey.save(tmp_path / "s.npz")
    again = Survey.load(tmp_path / "s.npz")
    assert again is not None and np.array_equal(again.marks, survey.marks)
    assert (again.num_samples, again.speakers) == (survey.num_samples, ("FL", "FR"))
    for content in (b"", b"PK\x03\x04", (tmp_path / "s.npz").read_bytes()[:-60]):
        (tmp_path / "s.npz").write_bytes(content)
        assert Survey.load(tmp_path / "s.npz") is None


def test_a_picture_a_silent_film_and_a_playlist_are_no_sound(tmp_path):
    with av.open(tmp_path / "film.mp4", "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        file.mux([*stream.encode(frame), *stream.encode(None)])
    soundfile.write(tmp_path / "secret.wav", np.zeros(RATE), RATE)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.wav\n"
    (tmp_path / "list.mp4").write_text(playlist)
    (tmp_path / "list.mp3").write_text(playlist)
    (tmp_path / "concat.m4a").write_text(f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n")
    for name in ("film.mp4", "list.mp4", "list.mp3", "concat.m4a"):
        with pytest.raises(audio_files.AudioError, match=name):
            audio_files.check(tmp_path / name)


def test_a_part_of_damaged_data_is_left_out(tmp_path):
    path = encode(tmp_path / "a.aac", "aac", noise(2, RATE), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    path.write_bytes(data)
    assert RATE < audio_files.check(path).num_samples < 2 * RATE + 2048


@pytest.mark.parametrize(("at", "value"), [(20, 0x7777), (34, 0)], ids=["format", "bits"])
def test_sound_that_no_decoder_knows_is_refused(at, value, tmp_path):
    """PyAV ends the process where it decodes a packet of such a stream."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1000), 8000)
    content = bytearray(path.read_bytes())
    content[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(audio_files.AudioError, match="no decoder knows what its sound is coded as"):
        decode_all(path)
    assert speakers_of(path) == ()
