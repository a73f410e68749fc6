"""Make a song: its models' passes one after another, with progress, resumed after a stop."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from audio import files as audio
from foundation.audio_module import AudioModel
from foundation.durations import spoken
from foundation.errors import UserError
from foundation.sampler import OnStep, ignore_step
from jbdiff.audio_buffer import Buffer
from jbdiff.dance_pass import DancePass, StereoModel
from jbdiff.generation import EDGE
from jbdiff.latent_pass import LatentPass
from jbdiff.level_pass import LevelModel, LevelPass, Noise, Read, Sampling
from jbdiff.song_files import SongFolder
from jbdiff.song_progress import Progress
from jbdiff.song_sections import Section, read_sections
from jbdiff.song_settings import LevelSettings, Song

log = logging.getLogger(__name__)
SECONDS = 12.0  # where neither a length nor an initial audio is given
Pass = LevelPass | DancePass


@torch.no_grad()
def make_song(
    song: Song,
    models: Mapping[str, AudioModel],
    device: torch.device | None = None,
    on_step: OnStep = ignore_step,
) -> Path:
    """Make a song, or resume it, and return its folder: out/song.wav and what else it writes.

    Args:
        song: the settings; its checkpoints are hashed, so that the same song can be made again
        models: those of `song.checkpoints`, loaded: "level_2", "level_1", "level_0", "dance"
        device: where they run, one at a time while the others wait on the CPU, and stay
            afterwards; None is the first one's that isn't on the CPU
        on_step: called with the work done and its total, in a unit of its own; what it raises
            stops the song, and the same settings resume it

    Raises:
        UserError: for settings that don't fit each other, the models or the files
    """
    folder = SongFolder(song)
    if folder.complete and not song.dry_run:
        log.info("%s exists, made with these settings: give another --out", folder.song)
        return folder.folder
    maker = SongMaker(song, models, folder)
    for line in maker.estimate():
        log.info("%s", line)
    if song.dry_run:
        return folder.folder
    folder.create()
    try:
        maker.run(device, on_step)
    except KeyboardInterrupt:
        folder.write(maker.buffers, maker.sample_rate, maker.num_samples)
        log.info("stopped: the audio so far is in %s; the same command resumes it", song.out)
        raise
    folder.write(maker.buffers, maker.sample_rate, maker.num_samples)
    folder.complete_song()
    log.info("%s", folder.song)
    return folder.folder


class SongMaker:
    """The models of a song and their passes, one after another."""

    def __init__(self, song: Song, models: Mapping[str, AudioModel], folder: SongFolder):
        self.song, self.folder = song, folder
        self.models = {name: checked_model(name, models) for name in song.checkpoints}
        self.buffers: dict[str, Buffer] = {}
        rates = {name: model.sample_rate for name, model in self.models.items()}
        self.sample_rate = next(iter(rates.values()))
        if len(set(rates.values())) > 1:
            raise UserError(f"all models must have one sample rate, got {rates}")
        self.init: audio.Reader | None = None
        if song.init_audio:
            channels = 1 if song.order else 2
            self.init = audio.Reader(song.init_audio, self.sample_rate, channels, song.too_loud)
        self.num_samples = self._num_samples()
        self.passes = self._passes()

    def _num_samples(self) -> int:
        """Take the song's length from its seconds, or from the initial audio."""
        song = self.song
        if song.seconds is None:
            if self.init is not None:
                return self.init.num_samples
            return round(SECONDS * self.sample_rate)
        num_samples = max(1, round(song.seconds * self.sample_rate))
        if self.init is not None and num_samples > self.init.num_samples:
            raise UserError(
                f"{song.init_audio} has {self.init.num_samples / self.sample_rate:.2f} s, "
                f"the song can't be longer: leave out seconds, or lower {song.seconds}"
            )
        return num_samples

    def _passes(self) -> dict[str, Pass]:
        """Set up the passes; each one reads the audio of the previous one, the coarser level."""
        passes: dict[str, Pass] = {}
        coarser: str | None = None
        for level in self.song.order:
            name = f"level_{level}"
            passes[name] = self._level_pass(name, self.song.level(level), coarser)
            coarser = name
        if self.song.dance.checkpoint:
            passes["dance"] = self._dance_pass(coarser)
        return passes

    def _level_pass(self, name: str, settings: LevelSettings, coarser: str | None) -> LevelPass:
        song, model = self.song, cast(LevelModel, self.models[name])
        if coarser is None and self.init is None and not model.from_noise:
            log.warning(
                "%s was trained to start from the audio of level %d, not from noise: expect "
                "little music without init_audio", name, model.level + 1,
            )  # fmt: skip
        kind = LatentPass if model.codec.continuous else LevelPass
        return kind(
            model,
            Sampling(
                settings.sampler,
                settings.init_strength if coarser else song.init_strength,
                settings.guidance,
                settings.guidance_rescale,
            ),
            self.num_samples,
            self._context(model),
            1 if model.codec.continuous else song.token_multiplier,
            song.count,
            Noise(song.noise_style, song.noise_step_size, song.noise_seed),
            coarser=self._read_buffer(coarser) if coarser else None,
            init=None if coarser or self.init is None else self._read_init,
            follow=coarser is not None or song.update_lowest_context,
            sections=self._sections(name),
        )

    def _sections(self, name: str) -> list[Section]:
        """Return what a level is told; UserError where no level knows it."""
        sections = read_sections(self.song.sections)
        if not sections:
            return []
        levels = [model for other, model in self.models.items() if other != "dance"]
        knows = self.models[name].conditions or not any(model.conditions for model in levels)
        for section in sections if knows else ():
            self.models[name].told(section.control, 1)
        return sections if knows else []

    def _dance_pass(self, last_level: str | None) -> DancePass:
        dance, model = self.song.dance, cast(StereoModel, self.models["dance"])
        return DancePass(
            model,
            Sampling(dance.sampler, dance.init_strength),
            self.num_samples,
            self._read_buffer(last_level) if last_level else self._read_init,
            Noise(dance.noise_style, dance.noise_step_size, dance.noise_seed),
            dance.crossfade,
            dance.crossfade_style,
            self.song.count,
        )

    def _read_buffer(self, name: str) -> Read:
        return lambda start, stop: self.buffers[name].read(start, stop)

    def _read_init(self, start: int, stop: int) -> Tensor:
        """Read the initial audio [1, C, stop - start], followed by silence."""
        assert self.init is not None
        if start >= self.init.num_samples:
            return torch.zeros(1, self.init.channels or 1, stop - start)
        part = self.init.read(start, stop)[None]
        return pad(part, (0, stop - start - part.shape[-1]))

    def _context(self, model: LevelModel) -> Tensor:
        """Read the end of the context audio [1, C, T].

        If it is shorter than the model's context it comes after silence, but at a level that has a
        null context in its place.
        """
        path, codec = self.song.context_audio, model.codec
        num_samples = (model.context_tokens + (EDGE if codec.continuous else 0)) * codec.hop
        end = torch.zeros(codec.channels, 0)
        if path is not None:
            total = audio.probe(path).num_samples_at(self.sample_rate)
            first = max(0, total - num_samples)
            end = audio.read(
                path, first, None, self.sample_rate, codec.channels, self.song.too_loud
            )
        silence = 0 if codec.continuous else num_samples - end.shape[-1]
        return pad(end, (silence, 0))[None]

    def estimate(self) -> list[str]:
        """Describe what each pass costs, in windows and network calls."""
        seconds = self.num_samples / self.sample_rate
        lines = [f"{seconds:.2f} s at {self.sample_rate} Hz, {self.song.count} at once"]
        for name, step in self.passes.items():
            calls = step.windows * step.calls
            twice = ", each twice the work for guidance" if step.sampling.guidance != 1 else ""
            lines.append(
                f"{name}: {step.windows} windows of {step.window / self.sample_rate:.2f} s, "
                f"{step.calls} calls each: {calls}, {calls / seconds:.1f} a second of audio{twice}"
            )
        return lines

    def run(self, device: torch.device | None = None, on_step: OnStep = ignore_step) -> None:
        """Run every pass on a device, from where its buffer ends."""
        devices = [model.device for model in self.models.values()]
        device = device or next((d for d in devices if d.type != "cpu"), devices[0])
        work = {name: self._work_of_a_call(name) for name in self.passes}
        total = sum(step.windows * step.calls * work[n] for n, step in self.passes.items())
        try:
            for model in self.models.values():
                model.cpu()  # one at a time is on the device
            with Progress.of(total, on_step) as progress:
                for name, step in self.passes.items():
                    self._run_pass(name, step, progress, work[name], device)
        finally:
            for model in self.models.values():
                model.to(device)

    def _run_pass(
        self,
        name: str,
        step: Pass,
        progress: Progress,
        work: float,
        device: torch.device,
    ) -> None:
        self.buffers[name] = buffer = step.open(self.folder.part(name))
        progress.resume(buffer.windows * step.calls * work)
        if buffer.windows == step.windows:
            return

        def describe() -> None:
            window = min(buffer.windows + 1, step.windows)
            progress.describe(f"{name} {window}/{step.windows}")

        model, began = self.models[name].to(device), time.monotonic()
        describe()
        for _ in step.run(buffer, lambda done, total: progress.advance(work)):
            describe()
        model.cpu()
        log.info("%s: done in %s", name, spoken(time.monotonic() - began))

    def _work_of_a_call(self, name: str) -> float:
        """Estimate the work of a network call, for the time left: weights times positions."""
        weights = sum(parameter.numel() for parameter in self.models[name].parameters())
        return weights * self.passes[name].positions


def checked_model(name: str, models: Mapping[str, AudioModel]) -> AudioModel:
    """Return a song's model; UserError if it is missing, or is of something else than its name."""
    if name not in models:
        raise UserError(f"the song needs a model {name!r}, there are {sorted(models)}")
    model = models[name]
    kind = type(model).__name__
    if name == "dance":
        if not isinstance(model, StereoModel):
            raise UserError(f"dance.checkpoint must be of Dance Diffusion, this one is of {kind}")
    elif not isinstance(model, LevelModel):
        raise UserError(f"{name}.checkpoint must be of a level's model, this one is of {kind}")
    elif name != f"level_{model.level}":
        raise UserError(f"{name}.checkpoint is of level {model.level}: give one of {name[-1]}")
    return model
