"""Settings of a song."""

from dataclasses import dataclass
from typing import Literal

from audio import crossfade
from foundation.audio_module import BASE
from foundation.checks import check_at_least
from foundation.errors import UserError
from foundation.request import check_seconds
from jbdiff import noise_paths
from jbdiff.levels import BASE_FOLDER, COARSEST
from jbdiff.samplers import DDIM, DPM, LatentSampler
from jbdiff.song_sections import read_sections

PARTS = ("level_3", "level_2", "level_1", "level_0", "dance")  # what has a sampler
PLAIN_FILES = ("context_audio", "init_audio", "codec_path")  # beside the models' checkpoints


@dataclass(frozen=True)
class LevelSettings:
    """How one level is sampled.

    Args:
        checkpoint: a checkpoint of this level, an export, or a file of Jukebox Diffusion v1
        sampler: DDIM, DPM for few steps, or a class of your own, with its options
        guidance: how much to rely on the context; 1 is the plain prediction, in half the time
        init_strength: the fraction of the steps that is skipped, starting closer to the coarser
            level's audio: 0 runs them all, 1 returns it; the first level takes the song's
        guidance_rescale: bring guided predictions back to the plain one's deviation, 0 to 1
    """

    checkpoint: str | None = None
    sampler: LatentSampler = DDIM(steps=250)
    guidance: float = 4.0
    init_strength: float = 0.0
    guidance_rescale: float = 0.0


@dataclass(frozen=True)
class DanceSettings:
    """How Dance Diffusion refines the song in stereo.

    Args:
        checkpoint: a checkpoint or an export of Dance Diffusion, or a published file of 44.1 kHz;
            null leaves the song as the last level made it
        sampler: DDIM, IPLMS, or a class of your own, with its options
        init_strength: how much to keep of the levels' audio: 0 nothing, 1 all of it
        noise_style: random, constant, region or walk, from window to window
        noise_step_size: how far region and walk go, 0 to 1
        noise_seed: seed of the noise
        crossfade: samples by which windows overlap
        crossfade_style: constant-power or linear
    """

    checkpoint: str | None = None
    sampler: LatentSampler = DDIM(steps=150)
    init_strength: float = 0.23
    noise_style: str = "random"
    noise_step_size: float = 0.4
    noise_seed: int = 0
    crossfade: int = 1536
    crossfade_style: str = "constant-power"


@dataclass(frozen=True)
class Song:
    """Make a song with Jukebox Diffusion, to OUT/song.wav; run it again to resume it.

    Args:
        out: the folder that gets the song, each level's audio, pictures and settings.json
        seconds: length of the song; the default is the initial audio's, or 12
        levels: which levels run, each over the coarser one's audio: 3210, 321, 3, 210, 2, 10, …;
            with "" the initial audio goes straight to Dance Diffusion; null takes 3, or 210 where
            one of them has a checkpoint
        level_3: settings of level 3; its checkpoint is the base model's where none is given
        level_2: settings of level 2
        level_1: settings of level 1
        level_0: settings of level 0
        dance: settings of the stereo pass
        context_audio: a music file; the song continues from its end
        init_audio: a music file that the song is to resemble
        init_strength: how much of the initial audio to keep: 0 nothing, 1 all of it
        noise_style: random, constant, region or walk, from window to window of the first level
        noise_step_size: how far region and walk go, 0 to 1
        noise_seed: seed of the first level's noise
        token_multiplier: makes the windows of levels 2, 1 and 0 this many times as long
        update_lowest_context: let the first level's windows follow each other; else each one
            follows the context audio
        count: how many songs are made at once, with noise seeds one apart
        codec_path: the codec of published checkpoints; the default is what they hold themselves
        accelerator: auto, cpu, gpu, …
        dry_run: only say how many windows and network calls it takes
        too_loud: what to do with a music file of floats beyond 8, where full scale is 1: skip is an
            error, clip limits them to 1, scale divides by their full scale or peak
        sha256: hashes of the checkpoints and music files; a file that has another is refused
        sections: what parts of the song are like, for levels that were trained with conditions:
            '[{from: 0, to: 20, tags: {piano: 1}}, {from: 20, label: jazz, guidance: 3}]'
    """

    out: str = "song"
    seconds: float | None = None
    levels: str | None = None
    level_3: LevelSettings = LevelSettings(BASE, DPM(steps=25, noise_scale=0.9), 1.5)
    level_2: LevelSettings = LevelSettings(init_strength=0.5)
    level_1: LevelSettings = LevelSettings(None, DDIM(steps=70), 2.0, init_strength=0.67)
    level_0: LevelSettings = LevelSettings(None, DDIM(steps=20), 1.3, init_strength=0.5)
    dance: DanceSettings = DanceSettings()
    context_audio: str | None = None
    init_audio: str | None = None
    init_strength: float = 0.5
    noise_style: str = "random"
    noise_step_size: float = 0.6
    noise_seed: int = 0
    token_multiplier: int = 2
    update_lowest_context: bool = True
    count: int = 1
    codec_path: str | None = None
    accelerator: str = "auto"
    dry_run: bool = False
    too_loud: Literal["skip", "clip", "scale"] = "skip"
    sha256: dict[str, str] | None = None
    sections: list[dict] | None = None

    def __post_init__(self) -> None:
        """Raise UserError for settings that don't fit each other, before anything is loaded."""
        levels = self._default_levels() if self.levels is None else self.levels
        object.__setattr__(self, "levels", levels)
        known = {str(level) for level in range(COARSEST + 1)}
        if set(levels) - known or len(set(levels)) != len(levels):
            raise UserError(f"levels must be some of 3, 2, 1 and 0, such as 210, got {levels!r}")
        check_at_least(1, token_multiplier=self.token_multiplier, count=self.count)
        check_seconds(self.seconds)
        check_at_least(0, **{"dance.crossfade": self.dance.crossfade})
        if not levels and not (self.init_audio and self.dance.checkpoint):
            raise UserError("without levels there must be init_audio and dance.checkpoint")
        fractions = {"init_strength": self.init_strength}
        for level in self.order:
            fractions |= self._check_level(f"level_{level}", self.level(level))
        fractions["dance.init_strength"] = self.dance.init_strength
        for name, fraction in fractions.items():
            if not 0 <= fraction <= 1:
                raise UserError(f"{name} must be in [0, 1], got {fraction}")
        read_sections(self.sections)
        crossfade.check(self.dance.crossfade_style)
        noise_paths.check(self.noise_style, self.noise_step_size)
        noise_paths.check(self.dance.noise_style, self.dance.noise_step_size, "dance.")

    def _default_levels(self) -> str:
        """Take level 3 where no other level has a checkpoint, and the published levels else."""
        levels = (self.level_2, self.level_1, self.level_0)
        return "210" if any(level.checkpoint for level in levels) else "3"

    def _check_level(self, name: str, settings: LevelSettings) -> dict[str, float]:
        """Check a level that runs; return what of it must lie between 0 and 1."""
        if settings.checkpoint is None:
            raise UserError(
                f"levels {self.levels!r} needs {name}.checkpoint: train it with "
                f"fit --model.jb_level {name[-1]}, or leave that level out"
            )
        check_at_least(0, **{f"{name}.guidance": settings.guidance})
        return {
            f"{name}.init_strength": settings.init_strength,
            f"{name}.guidance_rescale": settings.guidance_rescale,
        }

    @property
    def order(self) -> list[int]:
        """The levels that run, coarsest first."""
        return sorted((int(level) for level in self.levels or ""), reverse=True)

    def level(self, level: int) -> LevelSettings:
        return (self.level_0, self.level_1, self.level_2, self.level_3)[level]

    @property
    def checkpoints(self) -> dict[str, str]:
        """The checkpoints that the song is made with, by the names of their models."""
        files = {f"level_{level}": self.level(level).checkpoint for level in self.order}
        files |= {"dance": self.dance.checkpoint}
        names = {BASE: str(BASE_FOLDER)}
        return {name: names.get(path, path) for name, path in files.items() if path is not None}

    @property
    def files(self) -> dict[str, str]:
        """The checkpoints and music files that the song is made from, by name."""
        files = {name: getattr(self, name) for name in PLAIN_FILES}
        return self.checkpoints | {name: path for name, path in files.items() if path is not None}
