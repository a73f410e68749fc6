"""What a job of songs makes: Jukebox Diffusion's levels one after another, and Dance Diffusion."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch

from audio.files import AUDIO_SUFFIXES
from foundation.errors import UserError
from foundation.sampler import OnStep, Sampler
from jbdiff.samplers import LatentSampler
from jbdiff.song_maker import make_song
from jbdiff.song_sections import read_sections
from jbdiff.song_settings import PARTS, DanceSettings, LevelSettings, Song
from music_diffusion.studio.jobs import Work
from music_diffusion.studio.library import Library
from music_diffusion.studio.making import LONGEST, SEEDS, sampler_of
from music_diffusion.studio.models import Models

MOST = 4  # songs of a job
LEVEL_OPTIONS = ("guidance", "guidance_rescale", "init_strength")  # beside its sampler's
DANCE_OPTIONS = ("init_strength", "noise_step_size")


@dataclass(frozen=True)
class SongRequest:
    """What a job of songs is asked for, as the browser and the HTTP API say it.

    Args:
        models: names of `Library.models` by part: level_3, level_2, level_1, level_0, dance
        options: of a part by its name: its sampler's, and `LEVEL_OPTIONS` or `DANCE_OPTIONS`
        samplers: names of samplers' classes by part; the others take the song's usual ones
        seconds: length of the song; None is the initial audio's
        count: how many songs
        seed: of the first song's noise; below 0 a random one is drawn
        context: reference of a file that the song continues
        init: reference of a file that it is to resemble
        strength: how much of that to keep, 0 to 1
        noise_style: random, constant, region or walk, from window to window
        noise_step_size: how far region and walk go, 0 to 1
        dance_noise_style: the same of Dance Diffusion
        follow: whether the first level's windows follow each other, or each the context
        sections: what parts of the song are like, as in `jbdiff.song_settings.Song`
    """

    models: dict[str, str] = field(default_factory=lambda: {"level_3": "base"})
    options: dict[str, dict[str, float]] = field(default_factory=dict)
    samplers: dict[str, str] = field(default_factory=dict)
    seconds: float | None = 12.0
    count: int = 1
    seed: int = -1
    context: str = ""
    init: str = ""
    strength: float = 0.5
    noise_style: str = "random"
    noise_step_size: float = 0.6
    dance_noise_style: str = "random"
    follow: bool = True
    sections: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise UserError for values that no song takes."""
        if unknown := sorted({*self.models, *self.options, *self.samplers} - set(PARTS)):
            raise UserError(f"a song has no {', '.join(unknown)}: its parts are {', '.join(PARTS)}")
        if not 1 <= self.count <= MOST:
            raise UserError(f"count must be between 1 and {MOST}, got {self.count}")
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise UserError(f"seconds must be above 0, at most {LONGEST:.0f}, got {self.seconds}")
        if not isinstance(self.sections, list):
            raise UserError(f"sections must be a list, got {self.sections!r}")
        read_sections(self.sections)
        if self.seed < 0:
            object.__setattr__(self, "seed", secrets.randbelow(SEEDS))

    @classmethod
    def of(cls, settings: Mapping) -> "SongRequest":
        """Make a request of JSON; UserError for names that it hasn't."""
        known = {part.name for part in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise UserError(f"unknown settings {', '.join(unknown)}: there are {sorted(known)}")
        return cls(**settings)

    def again(self) -> "SongRequest":
        """Return the same request with the seeds that follow."""
        return replace(self, seed=self.seed + self.count)


def song_of(request: SongRequest, library: Library, out: Path) -> Song:
    """Return the settings of a song in a folder; UserError where they don't fit each other."""

    def file(reference: str) -> str | None:
        return str(library.file(reference, AUDIO_SUFFIXES)) if reference else None

    used = [name for name in PARTS if request.models.get(name)]
    return Song(
        out=str(out),
        seconds=request.seconds,
        levels="".join(name[-1] for name in used if name != "dance"),
        level_3=level_of(request, "level_3", Song.level_3, library),
        level_2=level_of(request, "level_2", Song.level_2, library),
        level_1=level_of(request, "level_1", Song.level_1, library),
        level_0=level_of(request, "level_0", Song.level_0, library),
        dance=dance_of(request, library),
        context_audio=file(request.context),
        init_audio=file(request.init),
        init_strength=request.strength,
        noise_style=request.noise_style,
        noise_step_size=request.noise_step_size,
        noise_seed=request.seed,
        update_lowest_context=request.follow,
        count=request.count,
        sections=request.sections or None,
        accelerator="cpu",  # the worker moves them to its device
    )


def level_of(
    request: SongRequest, name: str, usual: LevelSettings, library: Library
) -> LevelSettings:
    """Return the settings of a level; where it is left out, without a checkpoint."""
    if not (model := request.models.get(name)):
        return replace(usual, checkpoint=None)
    sampler, ours = sampling_of(request, name, usual.sampler, LEVEL_OPTIONS)
    return replace(usual, checkpoint=library.model(model), sampler=sampler, **ours)


def dance_of(request: SongRequest, library: Library) -> DanceSettings:
    """Return the settings of Dance Diffusion; where it is left out, without a checkpoint."""
    if not (model := request.models.get("dance")):
        return Song.dance
    sampler, ours = sampling_of(request, "dance", Song.dance.sampler, DANCE_OPTIONS)
    made = replace(Song.dance, checkpoint=library.model(model), sampler=sampler, **ours)
    return replace(made, noise_style=request.dance_noise_style, noise_seed=request.seed)


def sampling_of(
    request: SongRequest, name: str, usual: LatentSampler, own: Sequence[str]
) -> tuple[Sampler | None, dict[str, float]]:
    """Return a part's sampler, and its options that aren't the sampler's."""
    given = dict(request.options.get(name, {}))
    ours = {option: float(given.pop(option)) for option in own if option in given}
    return sampler_of(usual, LatentSampler, request.samplers.get(name, ""), given), ours


def work_of(request: SongRequest, library: Library, models: Models) -> Work:
    """Return the work of a job of songs; UserError for what doesn't fit, before it waits."""
    song_of(request, library, Path("song"))

    def work(folder: Path, device: torch.device, on_step: OnStep) -> list[Path]:
        song = song_of(request, library, folder)
        with ExitStack() as stack:
            held = {
                name: stack.enter_context(models.loaded(checkpoint, device))
                for name, checkpoint in song.checkpoints.items()
            }
            make_song(song, held, device, on_step)
        folders = [folder] if song.count == 1 else [folder / str(i) for i in range(song.count)]
        return [one / "song.wav" for one in folders]

    return work


def as_json(request: SongRequest) -> dict:
    """Return a request as JSON."""
    return asdict(request)


def usual_options(name: str) -> tuple[str, dict[str, float]]:
    """Return the name of a part's usual sampler, and the options that one can turn."""
    usual: LevelSettings | DanceSettings = getattr(Song, name)
    own = DANCE_OPTIONS if name == "dance" else LEVEL_OPTIONS
    options: dict[str, float] = {"steps": usual.sampler.steps}
    options |= {option: getattr(usual, option) for option in own}
    return type(usual.sampler).__name__, options
