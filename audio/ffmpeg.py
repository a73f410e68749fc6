"""Files that FFmpeg decodes, by PyAV: AAC, WMA, video, and what has no true length.

A container's time stamps needn't name samples: some count milliseconds, some are estimates. So the
file is decoded once, and every second the packet is noted whose sound begins there. A segment is
then decoded from the packet before, and placed by the note: exact, or from the file's start.
(Noise that AAC's decoder draws itself, in place of what the encoder left out, differs each time.)
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from torch import Tensor

from audio.downmix import mix
from audio.source import AudioError, Source
from audio.survey import Survey, survey_of

WARM_UP = 8  # packets decoded before one is placed: what depends on earlier ones is over by then
LOST = 4096  # packets after which a place that wasn't found is given up
RAW = {"mp3", "aac", "ac3", "eac3", "dts", "flac", "mpeg", "mpegts"}  # their times are estimates
DEMUXERS = (  # none that opens other files, as playlists do
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,avi,flv,mpeg,mpegts,aac,mp3,wav,w64,aiff,au,caf,flac,"
    "ogg,ac3,eac3,dts,ape,wv,tta,mpc,mpc8,dsf,iff,amr,rm,voc,ircam,truehd,mlp,loas,tak,shn"
)
Result = TypeVar("Result")
SCALES = {"s16": 2**15, "s32": 2**31, "s64": 2**63}


class FFmpeg(Source):
    """A file that FFmpeg reads, decoded once to know its length."""

    def __init__(self, path: Path):
        self.path = path
        self.survey = survey_of(path, decode_all)
        self.sample_rate, self.channels = self.survey.sample_rate, self.survey.channels
        self.num_samples, self.speakers = self.survey.num_samples, self.survey.speakers
        self.peak = self.survey.peak
        self.known = {key(*mark[1:]): mark[0] for mark in self.survey.marks.tolist()}

    def frames(self, start: int, stop: int) -> Tensor:
        marks = self.survey.marks
        before = int(np.searchsorted(marks[:, 0], start, side="right")) - 1
        found = None if before < 1 else self._read(start, stop, marks[before - 1])
        if found is None:
            found = self._read(start, stop, None)
        assert found is not None  # from its start a file needs no mark
        return found

    def _read(self, start: int, stop: int, mark: np.ndarray | None) -> Tensor | None:
        """Decode from near a mark, or from the start; None where the segment can't be placed."""
        position = 0 if mark is None else None
        parts = [torch.empty(self.channels, 0)]
        for count, (packet, frames) in enumerate(decoded(self.path, mark)):
            if position is None and count >= WARM_UP:
                position = self.known.get(key(*place_of(packet)))
                if count > LOST or (position or 0) > start:
                    return None
            if position is None:
                continue
            for frame in frames:
                first, last = max(0, start - position), max(0, stop - position)
                parts.append(mix(samples_of(frame), self.channels, self.speakers)[:, first:last])
                position += frame.samples
            if position >= stop:
                break
        return None if position is None else torch.cat(parts, dim=1)

    def close(self) -> None:
        """Nothing stays open between segments."""


def key(stamp: int, position: int) -> tuple[str, int]:
    """Name a packet: by where it lies in the file, or else by its time stamp."""
    return ("byte", position) if position >= 0 else ("time", stamp)


def place_of(packet: Packet) -> tuple[int, int]:
    """Return a packet's time stamp and byte position, -1 where it has none."""
    stamp, position = packet.pts, packet.pos
    return -1 if stamp is None else stamp, -1 if position is None else position


def decode_all(path: Path) -> Survey:
    """Decode a file to learn its length, its peak and its marks.

    Raises:
        AudioError: for a file without sound
    """
    survey, marks = Survey(), Marks()
    for packet, frames in decoded(path):
        marks.see(packet, survey.num_samples, survey.sample_rate)
        for frame in frames:
            if not survey.num_samples:
                survey.sample_rate, survey.channels = frame.sample_rate, frame.layout.nb_channels
                survey.speakers = names_of(frame.layout)
            survey.num_samples += frame.samples
            survey.peak = max(survey.peak, peak_of(samples_of(frame)))
    if not survey.num_samples:
        raise AudioError(f"{path} can't be read: it holds no samples")
    survey.marks = marks.array()
    return survey


class Marks:
    """Notes a packet a second: the sample that it begins, its time stamp, its byte position.

    Where stamps go back, as in files that were joined, there are none: FFmpeg's parsers then find
    other packets from the middle of a file than from its start.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[int, int, int]] = []
        self.since, self.stamp, self.position, self.orderly = 0, -1, -1, True

    def see(self, packet: Packet, sample: int, each: int) -> None:
        """Look at a packet before which `sample` samples were decoded; note it after `each`."""
        stamp, position = place_of(packet)
        fresh = position != self.position if position >= 0 else stamp >= 0
        last = self.marks[-1][0] if self.marks else -1
        self.since += 1
        if fresh and self.since >= WARM_UP and sample - last >= each:
            self.marks.append((sample, stamp, position))
            self.since = 0
        self.orderly &= stamp >= self.stamp or stamp < 0
        self.stamp, self.position = max(stamp, self.stamp), position

    def array(self) -> np.ndarray:
        return np.array(self.marks if self.orderly else [], np.int64).reshape(-1, 3)


def decoded(
    path: Path, mark: np.ndarray | None = None
) -> Iterator[tuple[Packet, list[AudioFrame]]]:
    """Yield a file's packets with the frames decoded from each, from the start or near a mark.

    Sound that can't be decoded is left out, as players do.

    Raises:
        AudioError: for a file without sound, or whose sample rate changes on the way
    """
    with path.open("rb") as file, opened(file, path) as container:
        if not container.streams.audio:
            raise AudioError(f"{path} can't be read: it holds no sound")
        if not (streams := decodable(container)):
            raise AudioError(f"{path} can't be read: no decoder knows what its sound is coded as")
        stream = streams[0]
        if mark is not None:
            seek(container, stream, mark)
        rate, remaining = None, container.demux(stream)
        while (packet := attempt(lambda: next(remaining, None))) is not None:
            frames: list[AudioFrame] = attempt(packet.decode) or []
            for frame in frames:
                rate = rate or frame.sample_rate
                if rate != frame.sample_rate:
                    change = f"from {rate} to {frame.sample_rate} Hz"
                    raise AudioError(f"{path} can't be read: its sample rate changes {change}")
            yield packet, frames


def decodable(container: InputContainer) -> list[AudioStream]:
    """Return the streams of sound that have a decoder: of others a packet would end the process."""
    return [stream for stream in container.streams.audio if stream.codec_context is not None]


def attempt(work: Callable[[], Result]) -> Result | None:
    """Return what FFmpeg returns; None where the data is damaged."""
    try:
        return work()
    except FFmpegError:
        return None


def opened(file: BinaryIO, path: Path) -> InputContainer:
    """Open a file, which may open no other; AudioError says why that failed."""

    def refuse(url: str, *_: object) -> None:
        raise PermissionError(f"{path} names another file, {url}")

    options = {"format_whitelist": DEMUXERS}
    if path.suffix.lower() in (".wav", ".bwf"):  # FFmpeg is asked where this length is wrong
        options["ignore_length"] = "1"
    try:
        return av.open(file, "r", options=options, metadata_errors="replace", io_open=refuse)
    except (FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{path} can't be read: {reason}") from error


def speakers_of(path: Path) -> tuple[str, ...]:
    """Return the names of a file's channels from its header; () where FFmpeg can't read it."""
    try:
        with path.open("rb") as file, opened(file, path) as container:
            layouts = [stream.codec_context.layout for stream in decodable(container)]
    except AudioError:
        return ()
    return names_of(layouts[0]) if layouts else ()


def names_of(layout: AudioLayout) -> tuple[str, ...]:
    return tuple(channel.name for channel in layout.channels)


def seek(container: InputContainer, stream: AudioStream, mark: np.ndarray) -> None:
    """Go to a mark's packet or before it; where that fails, stay at the start."""
    _, stamp, position = mark.tolist()
    try:
        if container.format.name in RAW and position >= 0:
            container.seek(position, unsupported_byte_offset=True)
        elif stamp >= 0:
            container.seek(stamp, stream=stream)
    except FFmpegError:
        pass


def samples_of(frame: AudioFrame) -> Tensor:
    """Copy a frame's samples to [C, T] float32, integers scaled to [-1, 1)."""
    data = frame.to_ndarray()
    if frame.format.is_packed:
        data = data.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.packed.name
    if kind == "u8":
        data = (data.astype(np.float32) - 128) / 128
    elif kind in SCALES:
        data = data / np.float32(SCALES[kind])
    return torch.from_numpy(np.array(data, np.float32))


def peak_of(samples: Tensor) -> float:
    """Return the largest absolute value; infinity where a sample isn't finite."""
    peak = samples.abs().amax().item() if samples.numel() else 0.0
    return peak if peak < float("inf") else float("inf")
