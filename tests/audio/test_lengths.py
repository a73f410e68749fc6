"""Files whose headers state another length than they have, or none."""

import struct

import numpy as np
import pytest
import soundfile
import torch

from audio import files as audio_files
from tests.audio.encoded import encode, noise

RATE = 44100


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def vbr(path, *parts):
    """Write an mp3 of variable bit rate without a header that says so."""
    options = {"write_xing": "0", "id3v2_version": "0"}
    samples = np.concatenate(parts, axis=1)
    return encode(path, "libmp3lame", samples, RATE, quality=2, options=options)


def ogg_checksum(page: bytes) -> int:
    """Compute the checksum of a page of Ogg whose own is zero (RFC 3533)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


@pytest.mark.parametrize("missing, used", [(5800, True), (20000, False)])
def test_an_ogg_file_that_ends_a_little_early_is_used(tmp_path, missing, used):
    path = tmp_path / "a.ogg"
    samples = np.random.default_rng(0).normal(size=2 * RATE) * 0.1
    soundfile.write(path, samples, RATE, format="OGG", subtype="VORBIS")
    data = bytearray(path.read_bytes())
    last = data.rfind(b"OggS")
    length = struct.unpack_from("<q", data, last + 6)[0] + missing
    struct.pack_into("<q", data, last + 6, length)
    struct.pack_into("<I", data, last + 22, 0)
    struct.pack_into("<I", data, last + 22, ogg_checksum(bytes(data[last:])))
    path.write_bytes(data)
    if not used:
        with pytest.raises(audio_files.AudioError, match="cut off"):
            audio_files.check(path)
        return
    info = audio_files.check(path)
    with audio_files.Reader(path) as reader:
        end = reader.read_all(info.num_samples - RATE, info.num_samples)
    assert end.shape == (1, RATE) and not end[:, -missing + 1200 :].any()
    assert end[:, : RATE - missing].std() > 0.05


def length_and_end(path):
    """Return the samples of a file, found by reading on to the end, and its last ones."""
    info = audio_files.check(path)
    whole = audio_files.read(path)
    assert whole.shape[1] == info.num_samples
    end = audio_files.read(path, info.num_samples - 900, 900)
    assert torch.equal(end, whole[:, -900:])
    return info.num_samples


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_of_variable_bit_rate_has_all_its_frames(tmp_path, loud_first):
    quiet = np.zeros((2, 2 * RATE), np.float32)
    parts = (noise(1, RATE), quiet) if loud_first else (quiet, noise(1, RATE))
    path = vbr(tmp_path / "a.mp3", *parts)
    claimed = soundfile.info(path).frames
    assert abs(claimed - 3 * RATE) > RATE / 2  # what libsndfile believes
    assert 3 * RATE <= length_and_end(path) <= 3 * RATE + 4 * 1152


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.wav"])
def test_joined_files_have_all_their_parts(tmp_path, name):
    kind = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    rate = 48000 if kind else RATE
    pieces = [noise(0.7, rate).T, noise(1.1, rate).T]
    for order in (pieces, pieces[::-1]):
        joined = b""
        for piece in order:
            soundfile.write(tmp_path / name, piece, rate, **kind)
            joined += (tmp_path / name).read_bytes()
        path = tmp_path / f"{len(order[0])}_{name}"
        path.write_bytes(joined)
        assert length_and_end(path) == pytest.approx(1.8 * rate, abs=4 * 1152)


def test_a_flac_without_a_length_and_one_within_ogg(tmp_path):
    samples = (noise(1.5, RATE) * 2**15).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples.T, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO's number of samples, as a pipe leaves it
    (tmp_path / "pipe.flac").write_bytes(data)
    encode(tmp_path / "b.oga", "flac", samples / 2**15, RATE, format="ogg")
    for name in ("pipe.flac", "b.oga"):
        assert length_and_end(tmp_path / name) == samples.shape[1]
        expected = torch.from_numpy(samples / np.float32(2**15))
        assert torch.equal(audio_files.read(tmp_path / name), expected)


def test_a_flac_that_promises_samples_it_lacks_asks_for_no_memory(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(0.5, RATE).T, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] |= 0x08  # 2^35 more
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(audio_files.AudioError, match=r"a.flac is cut off: .* it holds 0.50 s"):
        audio_files.read(tmp_path / "a.flac")


@pytest.mark.parametrize("size", [0, 2000, 0xFFFFFFFF, 0x7FFFFFF0])
def test_a_wav_of_a_recorder_that_crashed_is_read_to_its_end(tmp_path, size):
    samples = noise(1, RATE)
    soundfile.write(tmp_path / "a.wav", samples.T, RATE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(data)
    assert length_and_end(tmp_path / "a.wav") == RATE
    torch.testing.assert_close(
        audio_files.read(tmp_path / "a.wav"), torch.from_numpy(samples), atol=2**-14, rtol=0
    )


def test_chunks_after_the_music_are_no_music(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0.2, RATE).T, RATE)
    tag = b"LIST" + struct.pack("<I", 9000) + b"INFO" + bytes(8996)
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(tag)
    assert length_and_end(tmp_path / "a.wav") == round(0.2 * RATE)


@pytest.mark.parametrize("damage", ["cut", "junk"])
def test_a_damaged_mp3_is_used_as_far_as_it_can_be_decoded(damage, tmp_path):
    """LAME's header, as most files have it, still counts what is lost."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(3, RATE).T, RATE)
    content = path.read_bytes()
    half = len(content) // 2
    junk = bytes(torch.randint(256, (20_000,), generator=torch.Generator().manual_seed(0)).tolist())
    path.write_bytes(content[:half] + (junk + content[half:] if damage == "junk" else b""))
    whole = 3 * RATE if damage == "junk" else 1.5 * RATE
    assert abs(length_and_end(path) - whole) < 0.1 * RATE
