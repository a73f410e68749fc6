"""The files of a song: audio, pictures, a film of them, and the settings that made it."""

import hashlib
import logging
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from audio import files as audio
from audio.page.write import update_page
from audio.spectrogram import write_spectrogram
from foundation.audio_module import BASE
from foundation.errors import MissingFileError, UserError
from foundation.files import read_json, user_path, write_json
from foundation.weights import WEIGHTS
from jbdiff.audio_buffer import Buffer
from jbdiff.song_migration import convert, sampler_settings
from jbdiff.song_settings import PARTS, PLAIN_FILES, Song

log = logging.getLogger(__name__)
FRAME = 5  # seconds that a picture of the film shows
LONGEST = 60  # seconds that a file's picture shows
CHANGEABLE = ("out", "dry_run", "accelerator")  # settings that another run of a song may change


class SongFolder:
    """The folder of a song. Settings.json in it is read by `sample jbdiff --config`.

    While the song is being made, `parts` holds the audio buffers that it is resumed from.
    """

    def __init__(self, song: Song):
        self.count = song.count
        self.folder = user_path(song.out, "out")
        self.song, self.parts = self.folder / "song.wav", self.folder / "parts"
        self.settings_file = self.folder / "settings.json"
        self.settings = settings(song)
        if not song.dry_run:
            self._check_folder()

    def _check_folder(self) -> None:
        """Raise UserError for a folder that holds a song made with other settings."""
        if not self.settings_file.is_file():
            return
        theirs = convert(read_json(self.settings_file, "give another --out"))
        theirs.setdefault("level_3", self.settings["level_3"])  # songs of before there was one
        names = (self.settings.keys() | theirs.keys()) - set(CHANGEABLE)
        if other := sorted(n for n in names if theirs.get(n) != self.settings.get(n)):
            raise UserError(
                f"{self.folder} holds a song made with other settings ({', '.join(other)}): "
                "give another --out"
            )

    @property
    def complete(self) -> bool:
        return self.settings_file.is_file() and not self.parts.is_dir()

    def part(self, name: str) -> Path:
        return self.parts / f"{name}.f32"

    def create(self) -> None:
        """Make the folder and write the settings."""
        self.parts.mkdir(parents=True, exist_ok=True)
        write_json(self.settings_file, self.settings)

    def complete_song(self) -> None:
        """Delete the audio buffers: the song is complete."""
        shutil.rmtree(self.parts)

    def write(self, buffers: dict[str, Buffer], sample_rate: int, num_samples: int) -> None:
        """Write what there is of each level's audio, and of the song, the last pass in stereo.

        The page in the folder plays them.
        """
        last = "dance" if "dance" in self.settings["sha256"] else f"level_{min(self.levels)}"
        for name, buffer in buffers.items():
            if not buffer.end:
                continue
            made = buffer.read(0, min(buffer.end, num_samples))
            for i in range(self.count):
                folder = self.folder if self.count == 1 else self.folder / str(i)
                if name != "dance":
                    self._write(folder / f"{name}.wav", made[i], sample_rate)
                if name == last:
                    self._write(folder / "song.wav", made[i].expand(2, -1), sample_rate)
        update_page(self.folder)

    @property
    def levels(self) -> list[int]:
        return [int(level) for level in self.settings["levels"]]

    def _write(self, path: Path, samples: Tensor, sample_rate: int) -> None:
        """Write audio [C, T], its picture, and a film where FFmpeg is there."""
        peak = samples.abs().max().item()
        if peak > 1:
            log.warning("%s is clipped: its peak is %.2f", path, peak)
        audio.write(path, samples, sample_rate)
        write_spectrogram(
            path.with_suffix(".png"), samples[:, : LONGEST * sample_rate], sample_rate
        )
        frames = path.parent / "pictures"
        frames.mkdir(exist_ok=True)
        for i, part in enumerate(samples.split(FRAME * sample_rate, dim=-1)):
            write_spectrogram(frames / f"{path.stem}_{i:04d}.png", part, sample_rate)
        write_film(path, frames)


def settings(song: Song) -> dict:
    """Return all settings that reproduce a song, with whole paths and the hashes of its files.

    Raises:
        UserError: if a file has another hash than the song's settings say
        MissingFileError: if there is none
    """
    made = asdict(song)
    del made["out"], made["dry_run"]
    for name in PARTS:
        made[name]["sampler"] = sampler_settings(getattr(song, name).sampler)
    hashes = {name: sha256(existing_file(name, path)) for name, path in song.files.items()}
    for name, wanted in (song.sha256 or {}).items():
        if name in hashes and hashes[name] != wanted:
            raise UserError(
                f"{name} {song.files[name]} is not the file these settings were made with: its "
                f"sha256 is {hashes[name][:12]}…, not {wanted[:12]}…"
            )
    for name, path in song.files.items():
        whole = str(user_path(path, name).resolve())
        if name in PLAIN_FILES:
            made[name] = whole
        elif made[name]["checkpoint"] != BASE:  # that is where the project is installed
            made[name]["checkpoint"] = whole
    return made | {"sha256": hashes}


def existing_file(name: str, path: str) -> Path:
    """Return a file, or an export's weights; MissingFileError names what it is for."""
    file = user_path(path, name)
    if file.is_dir() and not (file / WEIGHTS).is_file():
        raise MissingFileError(f"{name}: {path} is a folder, and not one that export wrote")
    file = file / WEIGHTS if file.is_dir() else file
    if not file.is_file():
        raise MissingFileError(f"{name}: no such file: {path}")
    return file


def sha256(file: Path) -> str:
    """Hash a file."""
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_film(wav: Path, frames: Path) -> None:
    """Make NAME.mp4 of NAME.wav and its pictures, if FFmpeg is installed."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return
    pattern = frames / f"{wav.stem}_%04d.png"
    command = [ffmpeg, "-y", "-loglevel", "error", "-framerate", f"1/{FRAME}", "-i", str(pattern)]
    command += ["-i", str(wav), "-r", "10", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    command += ["-shortest", str(wav.with_suffix(".mp4"))]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        log.warning("no film of %s: %s", wav.name, reason)
