"""How a song is made: its models and passes, the progress, and going on after a stop."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from tqdm import tqdm

from audio import files as audio
from codec.vqvae import SAMPLE_RATE
from jbdiff.audio_buffer import Tape
from jbdiff.dance_pass import DancePass, Finisher
from jbdiff.level_pass import LevelModel, LevelPass, Noise, Read, Sampling
from jbdiff.module import COARSEST
from jbdiff.published import published_dance, published_level
from jbdiff.song_files import Outputs, Picture
from jbdiff.song_settings import LevelSettings, Song

log = logging.getLogger(__name__)
SECONDS = 12.0  # where neither a length nor an initial audio is given
Build = Callable[[Path], nn.Module]  # a published file, without settings, to a model
Load = Callable[[str, str, Build], nn.Module]  # a checkpoint, an accelerator to a model on it
Pass = LevelPass | DancePass


@torch.inference_mode()
def make(song: Song, load: Load, picture: Picture) -> None:
    """Make a song, or go on with it; `load` rebuilds a model, `picture` draws a spectrogram.

    Raises ValueError or OSError for settings that don't fit each other or the files.
    """
    outputs = Outputs(song, picture)
    if outputs.complete and not song.dry_run:
        log.info("%s is there already, made with these settings: give another --out", outputs.song)
        return
    work = Work(song, load, outputs)
    for line in work.estimate():
        log.info("%s", line)
    if song.dry_run:
        return
    outputs.begin()
    try:
        work.run()
    except KeyboardInterrupt:
        outputs.write(work.tapes, work.sample_rate, work.num_samples)
        log.info("stopped: what is finished lies in %s; the same command goes on", song.out)
        raise
    outputs.write(work.tapes, work.sample_rate, work.num_samples)
    outputs.finish()
    log.info("%s", outputs.song)


class Work:
    """The models of a song and their passes, one after another."""

    def __init__(self, song: Song, load: Load, outputs: Outputs):
        self.song, self.outputs = song, outputs
        self.tapes: dict[str, Tape] = {}
        self.device = torch.device("cpu")
        self.models: dict[str, nn.Module] = {}
        published: list[str] = []
        for name in song.files:
            if name.startswith("level_") or name == "dance":
                model = load_checked(load, name, song, published)
                self.device = next(model.parameters()).device
                self.models[name] = model.cpu()  # one at a time is on the device
        if song.codec_path and not set(published) - {"dance"}:
            raise ValueError(
                "codec_path is for published checkpoints, and none of the levels' is one: leave "
                "it out, these name their codec themselves"
            )
        rates = {name: model.sample_rate for name, model in self.models.items()}
        self.sample_rate = next(iter(rates.values()))
        if len(set(rates.values())) > 1:
            raise ValueError(f"all models must have one sample rate, got {rates}")
        channels = 1 if song.order else 2
        init = song.init_audio
        self.init = init and audio.read(init, sample_rate=self.sample_rate, channels=channels)
        self.num_samples = self._num_samples()
        self.passes = self._passes()

    def _num_samples(self) -> int:
        """Take the song's length from its seconds, or from the initial audio."""
        song = self.song
        if song.seconds is None:
            if self.init is not None:
                return self.init.shape[-1]
            return round(SECONDS * self.sample_rate)
        num_samples = max(1, round(song.seconds * self.sample_rate))
        if self.init is not None and num_samples > self.init.shape[-1]:
            raise ValueError(
                f"{song.init_audio} has {self.init.shape[-1] / self.sample_rate:.2f} s, "
                f"the song can't be longer: leave out seconds, or lower {song.seconds}"
            )
        return num_samples

    def _passes(self) -> dict[str, Pass]:
        passes: dict[str, Pass] = {}
        before: str | None = None
        for level in self.song.order:
            name = f"level_{level}"
            passes[name] = self._level_pass(name, self.song.level(level), before)
            before = name
        if self.song.dance.checkpoint:
            passes["dance"] = self._dance_pass(before)
        return passes

    def _level_pass(self, name: str, settings: LevelSettings, before: str | None) -> LevelPass:
        song, model = self.song, self.models[name]
        if before is None and self.init is None and model.level < COARSEST:
            log.warning(
                "%s was trained to start from the audio of level %d, not from noise: expect "
                "little music without init_audio", name, model.level + 1,
            )  # fmt: skip
        return LevelPass(
            model,
            Sampling(
                settings.steps,
                settings.init_strength if before else song.init_strength,
                settings.sampler,
                settings.guidance,
                settings.guidance_rescale,
            ),
            self.num_samples,
            self._context(model.context_tokens * model.codec.hop),
            song.token_multiplier,
            song.count,
            Noise(song.noise_style, song.noise_step_size, song.noise_seed),
            below=self._read_tape(before) if before else None,
            init=None if before or self.init is None else self._read_init,
            follow=before is not None or song.update_lowest_context,
        )

    def _dance_pass(self, before: str | None) -> DancePass:
        dance = self.song.dance
        return DancePass(
            self.models["dance"],
            Sampling(dance.steps, dance.init_strength, dance.sampler),
            self.num_samples,
            self._read_tape(before) if before else self._read_init,
            Noise(dance.noise_style, dance.noise_step_size, dance.noise_seed),
            dance.crossfade,
            dance.crossfade_style,
            self.song.count,
        )

    def _read_tape(self, name: str) -> Read:
        return lambda start, stop: self.tapes[name].read(start, stop)

    def _read_init(self, start: int, stop: int) -> Tensor:
        part = self.init[None, :, start:stop]
        return pad(part, (0, stop - start - part.shape[-1]))

    def _context(self, num_samples: int) -> Tensor:
        """Read the end of the context audio [1, 1, T], after silence if it is shorter."""
        path = self.song.context_audio
        if path is None:
            return torch.zeros(1, 1, num_samples)
        total = audio.probe(path).num_samples_at(self.sample_rate)
        end = audio.read(path, max(0, total - num_samples), None, self.sample_rate, 1)
        return pad(end, (num_samples - end.shape[-1], 0))[None]

    def estimate(self) -> list[str]:
        """Say what each pass costs, in windows and network calls."""
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

    def run(self) -> None:
        """Make every pass, from where its tape ends."""
        units = {name: self._unit(name) for name in self.passes}
        total = sum(step.windows * step.calls * units[n] for n, step in self.passes.items())
        form = "{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"
        with tqdm(total=total, bar_format=form) as bar:
            for name, step in self.passes.items():
                shape = (self.song.count, step.channels, step.length)
                tape = Tape(self.outputs.part(name), shape, step.overlap, step.style)
                self.tapes[name] = tape
                done = tape.windows * step.calls * units[name]  # by an earlier run
                bar.n, bar.initial = bar.n + done, bar.initial + done
                self._run_pass(name, step, tape, bar, units[name])

    def _run_pass(self, name: str, step: Pass, tape: Tape, bar: tqdm, unit: float) -> None:
        if tape.windows == step.windows:
            return

        def describe() -> None:
            bar.set_description(f"{name} {min(tape.windows + 1, step.windows)}/{step.windows}")

        step.model.to(self.device)
        describe()
        for _ in step.run(tape, lambda *_: bar.update(unit)):
            describe()
        step.model.cpu()

    def _unit(self, name: str) -> float:
        """Guess the work of a network call, for the time left: weights times positions."""
        weights = sum(parameter.numel() for parameter in self.models[name].parameters())
        return weights * self.passes[name].positions


def load_checked(load: Load, name: str, song: Song, published: list[str]) -> nn.Module:
    """Load the model that a setting names, and add its name to `published` if its file is.

    ValueError if the file holds no model, or another one.
    """

    def build(path: Path) -> nn.Module:
        published.append(name)
        if name == "dance":
            return published_dance(path, SAMPLE_RATE)
        return published_level(path, int(name[-1]), song.codec_path)

    try:
        model = load(song.files[name], song.accelerator, build)
    except ValueError as error:
        raise ValueError(f"{name}.checkpoint: {error}") from error
    check_model(name, model)
    return model


def check_model(name: str, model: nn.Module) -> None:
    """Refuse a checkpoint of something else than its setting is for."""
    kind = type(model).__name__
    if name == "dance":
        if not isinstance(model, Finisher):
            raise ValueError(f"dance.checkpoint must be of Dance Diffusion, this one is of {kind}")
    elif not isinstance(model, LevelModel):
        raise ValueError(f"{name}.checkpoint must be of a level's model, this one is of {kind}")
    elif name != f"level_{model.level}":
        raise ValueError(f"{name}.checkpoint is of level {model.level}: give one of {name[-1]}")
