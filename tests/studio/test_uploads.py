"""Uploads: kept as WAV, bounded, and told apart from what isn't music."""

import pytest
import torch

from audio.files import probe, read, write
from foundation.errors import UserError
from music_diffusion.studio.library import Library
from music_diffusion.studio.uploads import Uploads


@pytest.fixture
def uploads(tmp_path):
    (tmp_path / "own").mkdir()
    return Uploads(Library.of(tmp_path / "own", []), megabytes=0.1, seconds=2.0)


def test_a_file_is_kept_as_wav_under_a_plain_name(uploads, tmp_path):
    sound = torch.rand(2, 800)
    write(tmp_path / "x.flac", sound, 8000)
    reference = uploads.take(tmp_path / "x.flac", "../../a <b> é.flac")
    assert reference.startswith("studio/uploads/") and reference.endswith("_a__b__é.wav")
    kept = uploads.library.file(reference)
    torch.testing.assert_close(read(kept), sound, atol=1e-4, rtol=0)
    assert probe(kept).sample_rate == 8000


def hostile(path, kind):
    if kind == "long":
        write(path, torch.zeros(1, 3 * 8000), 8000)
    elif kind == "large":
        path.write_bytes(b"RIFF" + b"x" * 200_000)
    elif kind == "lies":  # a header that promises gigabytes
        write(path, torch.zeros(1, 100), 8000)
        data = bytearray(path.read_bytes())
        data[40:44] = b"\xff\xff\xff\x7f"
        path.write_bytes(data[:60])
    elif kind == "page":
        path.write_bytes(b"<html><script>alert(1)</script>")
    elif kind == "empty":
        path.write_bytes(b"")
    else:  # a playlist that names another file
        path.write_bytes(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")


@pytest.mark.parametrize("kind", ["long", "large", "page", "empty", "playlist"])
@pytest.mark.parametrize("name", ["x.wav", "x.mp3", "x.m4a"])
def test_what_is_too_much_or_no_music_is_refused_without_a_path(uploads, tmp_path, kind, name):
    path = tmp_path / ("x.wav" if kind == "long" else name)
    hostile(path, kind)
    with pytest.raises(UserError) as error:
        uploads.take(path, "song.wav")
    assert str(tmp_path) not in str(error.value)
    assert "song.wav" in str(error.value)
    assert not uploads.folder.exists() or not list(uploads.folder.iterdir())


@pytest.mark.parametrize("name", ["x.exe", "x", "x.html", "x.wav/../../y.sh"])
def test_other_kinds_are_refused(uploads, name):
    with uploads.receiving(name) as path:
        path.write_bytes(b"x")
        with pytest.raises(UserError, match="no music file"):
            uploads.take(path, name)
    assert not path.exists()


def test_a_header_that_lies_about_its_length_costs_nothing(uploads, tmp_path):
    hostile(tmp_path / "x.wav", "lies")
    try:
        kept = uploads.library.file(uploads.take(tmp_path / "x.wav", "x.wav"))
    except UserError:
        return
    assert kept.stat().st_size < 1000
