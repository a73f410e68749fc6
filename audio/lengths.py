"""Whether the length that a file's header states is the file's: headers lie, or are estimates.

A stream ripper writes no length, a crashed recorder the one from its start, and a joined file has
that of its first part. libsndfile believes them all. What doesn't fit here is decoded to be
measured (`audio.survey`), so a wrong "no" costs time and nothing else.
"""

import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

SLACK = 4 * 1152  # samples; gapless players cut about two mp3 frames, and libsndfile does, too
TAIL = 2**18  # bytes at the end of a FLAC file in which its last frame begins
JUNK = 4096  # bytes after a WAV file's last chunk that are no music
OGG_PAGE = 65307  # bytes; the largest page
BIT_RATES = {  # kbit/s by (version 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
FLAC_BLOCKS = {1: 192, **{2 + i: 576 << i for i in range(4)}, **{8 + i: 256 << i for i in range(8)}}


def true_length(path: Path, format: str, num_samples: int) -> int | None:
    """Return the samples of a file of libsndfile's `format`, which counts `num_samples`.

    None where the file has to be decoded to know.
    """
    if not 0 < num_samples < 2**40:  # libsndfile returns 2**63 - 1 for an unknown length
        return None
    test = TESTS.get(format)
    if test is None:
        return num_samples
    with path.open("rb") as file:
        return test(file, path.stat().st_size, num_samples)


def mp3_length(file: BinaryIO, size: int, num_samples: int) -> int | None:
    """Count the frames, unless a Xing header says that nothing follows those it counted."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = find_frame(data, after_id3(data, 0))
        if start is None:
            return num_samples
        end = xing_end(data, start)
        if end is not None and end <= size and is_tag(data[end : end + 8]):
            return num_samples
        counted = count_samples(data, start)
    if counted is None:
        return num_samples
    if not counted:
        return None
    return min(counted, num_samples) if abs(counted - num_samples) <= SLACK else None


def has_mp3_frames(path: Path) -> bool:
    """Say whether MPEG audio frames are in a file that isn't empty."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return find_frame(data, after_id3(data, 0)) is not None


def frame_of(data: bytes | mmap.mmap, at: int) -> tuple[int, int] | None:
    """Return bytes and samples of the MPEG audio frame at a place, if there is one."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bit_rate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    first = version == 3
    bits = 1000 * BIT_RATES[first, layer][bit_rate - 1]
    hertz = SAMPLE_RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4, 384
    samples = 1152 if first or layer == 2 else 576
    return samples // 8 * bits // hertz + padding, samples


def find_frame(data: mmap.mmap, start: int) -> int | None:
    """Find the next frame that another one follows, or that ends the file."""
    while (at := data.find(b"\xff", start)) >= 0:
        if frame := frame_of(data, at):
            end = at + frame[0]
            if end == len(data) or frame_of(data, end) or is_tag(data[end : end + 8]):
                return at
        start = at + 1
    return None


def after_id3(data: mmap.mmap, at: int) -> int:
    """Return where the ID3v2 tags at a place end; their sizes have seven bits a byte."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size
    return at


def xing_end(data: mmap.mmap, start: int) -> int | None:
    """Return where the stream ends that a Xing or Info header in the first frame describes."""
    frame = data[start : start + 200]
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if 0 <= at <= 40 and frame[at + 7] & 3 == 3:  # it counts frames and bytes
            return start + struct.unpack_from(">I", frame, at + 12)[0]
    return None


def is_tag(after: bytes) -> bool:
    """Return whether the bytes after a stream are the end of the file, a tag or padding."""
    return not after.strip(b"\0") or after.startswith((b"TAG", b"APETAGEX", b"LYRICSBE", b"3DI"))


def count_samples(data: mmap.mmap, start: int) -> int | None:
    """Count the samples of all frames from `start`, over tags between them.

    None where the stream has no frames as `frame_of` knows them, 0 where it is damaged between two,
    which libsndfile may not get over.
    """
    total, at = 0, start
    while True:
        frame = frame_of(data, at)
        if frame is None:
            tag = after_id3(data, at)
            found = find_frame(data, tag)
            if found is None:
                return total or None
            if total and not is_tag(data[tag:found][:8]):
                return 0
            at = found
            continue
        total += frame[1]
        at += frame[0]


def flac_length(file: BinaryIO, size: int, num_samples: int) -> int | None:
    """Look in the file's tail for a frame that ends at the header's number of samples."""
    info = file.read(26)
    if info[:4] != b"fLaC":  # a tag comes first
        return None
    block_size = struct.unpack(">H", info[8:10])[0]
    file.seek(max(0, size - TAIL))
    tail = file.read()
    tail = tail[tail.rfind(b"fLaC") + 1 :]  # of a second file, joined to the first
    places = (found.start() for found in re.finditer(rb"\xff[\xf8\xf9]", tail))
    ends = (flac_frame_end(tail[at : at + 16], block_size) for at in places)
    return num_samples if num_samples in ends else None


def flac_frame_end(head: bytes, block_size: int) -> int | None:
    """Return the number of the sample after a FLAC frame, from its header (RFC 9639, 9.1)."""
    if len(head) < 9:
        return None
    lead = head[4]
    extra = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1  # as in UTF-8, to 36 bits
    number = lead if not extra else lead & (0x3F >> extra)
    for byte in head[5 : 5 + extra]:
        number = number << 6 | byte & 0x3F
    code, rest = head[2] >> 4, head[5 + extra :]
    if code in (6, 7):
        samples = int.from_bytes(rest[: code - 5], "big") + 1
    else:
        samples = FLAC_BLOCKS.get(code, 0)
    start = number if head[1] & 1 else number * block_size
    return start + samples


def ogg_length(file: BinaryIO, size: int, num_samples: int) -> int | None:
    """Compare the last page's stream with the first's: another one is a joined file."""
    first = file.read(27)
    file.seek(max(0, size - 2 * OGG_PAGE))
    tail = file.read()
    last = tail.rfind(b"OggS")
    return num_samples if last >= 0 and tail[last + 14 : last + 18] == first[14:18] else None


def wav_length(file: BinaryIO, size: int, num_samples: int) -> int | None:
    """Look at what follows the data: chunks, or sound that the header doesn't count."""
    order = ">" if file.read(4) == b"RIFX" else "<"
    at = 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name in (b"RIFF", b"RIFX") or not all(32 <= byte < 127 for byte in name):
            return num_samples if size - at <= JUNK else None
        if name == b"ds64":
            break  # the chunks' lengths are elsewhere
        at += 8 + length + length % 2
    return num_samples


TESTS: dict[str, Callable[[BinaryIO, int, int], int | None]] = {
    "MP3": mp3_length,
    "FLAC": flac_length,
    "OGG": ogg_length,
    "WAV": wav_length,
    "WAVEX": wav_length,
}
