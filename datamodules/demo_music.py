"""Synthetic stereo music, made offline, to run everything before a music folder is at hand."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from audio import files as audio_files
from foundation.files import cache_folder

VERSION = 1  # count up when the sound changes: a new version gets a new folder

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (1, 4, 0, 0),
    (0, 3, 0, 4),
    (0, 6, 5, 4),
    (5, 3, 0, 4),
    (0, 2, 3, 4),
)


@dataclass(frozen=True)
class Instrument:
    """A sum of partials: how loud each is, how fast the higher ones fade, and the envelope."""

    partials: tuple[float, ...]
    attack: float  # seconds
    decay: float  # seconds to fall to 1 / e; long for held notes
    damping: float = 0.0  # how much faster each higher partial falls
    inharmonic: float = 0.0  # stretch of the partials, as in strings and bells
    vibrato: float = 0.0  # depth as a fraction of the frequency


ORGAN = Instrument((1, 0.8, 0.5, 0.45, 0.1, 0.25, 0.05, 0.2), 0.02, 30.0)
PIANO = Instrument((1, 0.6, 0.35, 0.25, 0.15, 0.1, 0.07, 0.05), 0.004, 0.9, 0.5, 4e-4)
PLUCK = Instrument(tuple(1 / k for k in range(1, 15)), 0.002, 0.6, 0.9, 1e-4)
BELL = Instrument((1, 0.1, 0.6, 0.05, 0.4, 0.3), 0.002, 1.2, 0.25, 0.05)
STRINGS = Instrument(tuple(k**-1.2 for k in range(1, 13)), 0.18, 20.0, 0.0, 0.0, 0.004)
FLUTE = Instrument((1, 0.25, 0.12, 0.03), 0.05, 20.0, 0.0, 0.0, 0.006)
REED = Instrument((1, 0.05, 0.6, 0.05, 0.35, 0.03, 0.2, 0.02, 0.1), 0.03, 20.0, 0.0, 0.0, 0.003)
BRASS = Instrument(tuple(0.85**k for k in range(10)), 0.06, 15.0, 0.05, 0.0, 0.002)
SUB = Instrument((1, 0.5, 0.2, 0.08), 0.008, 1.5, 0.6)
CHORD_SOUNDS = (ORGAN, PIANO, STRINGS, PLUCK, BRASS)
LEAD_SOUNDS = (FLUTE, REED, BELL, PIANO, PLUCK, BRASS)
BASS_SOUNDS = (SUB, PLUCK, ORGAN)


def note(sound: Instrument, pitch: int, seconds: float, sample_rate: int) -> np.ndarray:
    """Play one MIDI pitch to [T], with a short release past `seconds`."""
    release = 0.08
    t = np.arange(round((seconds + release) * sample_rate), dtype=np.float32) / sample_rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    phase = 2 * np.pi * frequency * t
    if sound.vibrato:
        phase += frequency * sound.vibrato / 5.5 * (1 - np.cos(2 * np.pi * 5.5 * t))
    wave = np.zeros_like(t)
    for k, level in enumerate(sound.partials, start=1):
        stretch = k * np.sqrt(1 + sound.inharmonic * k * k)
        if frequency * stretch * (1 + sound.vibrato) < 0.45 * sample_rate:
            fall = np.exp(-t * ((1 + sound.damping * (k - 1)) / sound.decay))
            wave += level * fall * np.sin(phase * np.float32(stretch))
    rise = np.minimum(t / sound.attack, 1)
    end = np.clip((seconds + release - t) / release, 0, 1)
    return (wave * rise * end / np.sqrt(np.square(sound.partials).sum())).astype(np.float32)


def kick(sample_rate: int, random: np.random.Generator) -> np.ndarray:
    t = np.arange(round(0.3 * sample_rate)) / sample_rate
    sweep = 2 * np.pi * (48 * t + 110 * 0.03 * (1 - np.exp(-t / 0.03)))
    return (np.sin(sweep) * np.exp(-t / 0.09)).astype(np.float32)


def snare(sample_rate: int, random: np.random.Generator) -> np.ndarray:
    t = np.arange(round(0.22 * sample_rate)) / sample_rate
    noise = random.standard_normal(len(t)) * np.exp(-t / 0.06)
    return (0.5 * noise + 0.6 * np.sin(2 * np.pi * 185 * t) * np.exp(-t / 0.05)).astype(np.float32)


def hat(sample_rate: int, random: np.random.Generator) -> np.ndarray:
    t = np.arange(round(0.08 * sample_rate)) / sample_rate
    noise = np.diff(random.standard_normal(len(t) + 1))  # a plain high-pass
    return (0.3 * noise * np.exp(-t / 0.02)).astype(np.float32)


class Mix:
    """A stereo mix [2, T] to which sounds are added at a time, a level and a pan."""

    def __init__(self, num_samples: int, sample_rate: int):
        self.samples = np.zeros((2, num_samples), np.float32)
        self.sample_rate = sample_rate

    def add(self, wave: np.ndarray, seconds: float, level: float, pan: float) -> None:
        """Add wave [T] with equal-power panning; pan runs from 0 (left) to 1 (right)."""
        start = round(seconds * self.sample_rate)
        wave = wave[: max(0, self.samples.shape[1] - start)]
        for channel, gain in enumerate((np.cos(pan * np.pi / 2), np.sin(pan * np.pi / 2))):
            self.samples[channel, start : start + len(wave)] += np.float32(level * gain) * wave


@dataclass(frozen=True)
class Song:
    """The musical settings of a track, drawn once."""

    root: int
    scale: tuple[int, ...]
    progression: tuple[int, ...]
    beat: float  # seconds
    beats: int  # in a bar
    chords: Instrument
    lead: Instrument
    bass: Instrument
    drums: bool
    arpeggio: bool

    @classmethod
    def draw(cls, random: np.random.Generator) -> "Song":
        def pick(choices: tuple):
            return choices[random.integers(len(choices))]

        return cls(
            root=int(random.integers(48, 60)),
            scale=pick(tuple(MODES.values())),
            progression=pick(PROGRESSIONS),
            beat=60 / random.uniform(70, 150),
            beats=pick((3, 4, 4, 4)),
            chords=pick(CHORD_SOUNDS),
            lead=pick(LEAD_SOUNDS),
            bass=pick(BASS_SOUNDS),
            drums=bool(random.random() < 0.75),
            arpeggio=bool(random.random() < 0.5),
        )

    def pitch(self, degree: int) -> int:
        """Return the MIDI pitch of a scale degree; degree 7 is the root an octave up."""
        octave, step = divmod(degree, 7)
        return self.root + 12 * octave + self.scale[step]


def track(seed: int, seconds: float, sample_rate: int) -> np.ndarray:
    """Compose and play one track to stereo [2, T] with peak 0.7."""
    random = np.random.default_rng(seed)
    song = Song.draw(random)
    num_samples = round(seconds * sample_rate)
    dry, drums = Mix(num_samples, sample_rate), Mix(num_samples, sample_rate)
    pans = random.uniform(0.2, 0.8, size=2)
    bar, degree = song.beat * song.beats, 7
    for index in range(int(np.ceil(seconds / bar))):
        start = index * bar
        root = song.progression[index % len(song.progression)]
        _play_chord(dry, song, root, start, pans[0])
        _play_bass(dry, song, root, start, random)
        if index % 8 != 7:  # the lead takes a breath
            degree = _play_lead(dry, song, root, degree, start, 1 - pans[0], random)
        if song.drums and index >= 2:
            _play_drums(drums, song, start, random)
    wet = _reverb(dry.samples, sample_rate, random)
    mix = dry.samples + 0.25 * wet + drums.samples
    return mix * (0.7 / np.abs(mix).max())


def _play_chord(mix: Mix, song: Song, root: int, start: float, pan: float) -> None:
    degrees = [root, root + 2, root + 4]
    if song.arpeggio:
        steps = song.beats * 2
        for step in range(steps):
            wave = note(
                song.chords, song.pitch(degrees[step % 3]), song.beat * 0.6, mix.sample_rate
            )
            mix.add(wave, start + step * song.beat / 2, 0.3, pan)
        return
    for k, degree in enumerate(degrees):
        wave = note(song.chords, song.pitch(degree), song.beat * song.beats, mix.sample_rate)
        mix.add(wave, start, 0.22, np.clip(pan + 0.15 * (k - 1), 0, 1))


def _play_bass(mix: Mix, song: Song, root: int, start: float, random: np.random.Generator) -> None:
    for beat in range(0, song.beats, 2 if random.random() < 0.4 else 1):
        degree = root + (4 if beat == song.beats - 1 and random.random() < 0.5 else 0)
        wave = note(song.bass, song.pitch(degree) - 24, song.beat * 0.9, mix.sample_rate)
        mix.add(wave, start + beat * song.beat, 0.4, 0.5)


def _play_lead(
    mix: Mix,
    song: Song,
    root: int,
    degree: int,
    start: float,
    pan: float,
    random: np.random.Generator,
) -> int:
    """Walk along the scale, landing on chord notes at the bar's start; return the last degree."""
    beat = 0.0
    degree = root + 7 + (0, 2, 4)[random.integers(3)]
    while beat < song.beats:
        length = min((0.5, 0.5, 1.0, 1.5)[random.integers(4)], song.beats - beat)
        if random.random() < 0.88:
            wave = note(song.lead, song.pitch(degree), song.beat * length * 0.95, mix.sample_rate)
            mix.add(wave, start + beat * song.beat, 0.32, pan)
        degree = int(np.clip(degree + random.integers(-2, 3), 5, 16))
        beat += length
    return degree


def _play_drums(mix: Mix, song: Song, start: float, random: np.random.Generator) -> None:
    rate = mix.sample_rate
    for half in range(song.beats * 2):
        at = start + half * song.beat / 2
        mix.add(hat(rate, random), at, random.uniform(0.15, 0.3), 0.65)
        if half % 4 == 0 or (half % 2 and random.random() < 0.12):
            mix.add(kick(rate, random), at, 0.7, 0.5)
        if half % 4 == 2:
            mix.add(snare(rate, random), at, 0.4, 0.45)


def _reverb(dry: np.ndarray, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Convolve each channel of [2, T] with its own decaying noise."""
    num_taps = round(random.uniform(0.4, 1.4) * sample_rate)
    fade = np.exp(-5 * np.arange(num_taps) / num_taps)
    taps = (random.standard_normal((2, num_taps)) * fade).astype(np.float32)
    taps /= np.sqrt(np.square(taps).sum(axis=1, keepdims=True))
    size = 1 << (dry.shape[1] + num_taps - 2).bit_length()
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(taps, size), size)
    return wet[:, : dry.shape[1]].astype(np.float32)


def write_demo_music(
    folder: str | Path,
    seed: int = 0,
    num_tracks: int = 12,
    seconds: float = 60.0,
    sample_rate: int = 44100,
) -> Path:
    """Write tracks as 16 bit FLAC, except those that exist already, and return the folder."""
    folder = Path(folder)
    name = f"demo_{seed}_{seconds:g}s_{sample_rate}"
    paths = {index: folder / f"{name}_{index:02d}.flac" for index in range(num_tracks)}
    missing = {index: path for index, path in paths.items() if not path.is_file()}
    for index, path in tqdm(
        missing.items(), "demo music", disable=not missing or None, unit="track"
    ):
        samples = track(1000 * seed + index, seconds, sample_rate)
        audio_files.write(path, torch.from_numpy(samples), sample_rate)
    return folder


def demo_music_folder() -> Path:
    """The default place, in the user's cache folder, named after this version of the music."""
    version = hashlib.sha256(f"demo music {VERSION}".encode()).hexdigest()[:8]
    return cache_folder() / f"demo_music-{version}"
