"""What a job of clips makes: new audio, a continued file, or a repaired one."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch

import sedd.samplers  # noqa: F401 (both are imported so that the samplers are known)
from audio.files import AUDIO_SUFFIXES, probe
from foundation.audio_module import AudioModel
from foundation.control import GUIDANCE, Control
from foundation.errors import UserError
from foundation.sampler import OnStep, Sampler
from music_diffusion.commands.prompt import Prompt
from music_diffusion.commands.sample import asked_for, batches, read_init
from music_diffusion.commands.sample_files import SampleFolder
from music_diffusion.studio.jobs import Work
from music_diffusion.studio.library import Library
from music_diffusion.studio.models import Models, guidance_of, samplers

MOST = 16  # clips of a job
LONGEST = 600.0  # seconds of a clip
BATCH = 4  # clips made at once
SEEDS = 2**31
VARIED = 0.6  # of a clip stays in its variation


@dataclass(frozen=True)
class ClipRequest:
    """What a job of clips is asked for, as the browser and the HTTP API say it.

    Args:
        model: of `Library.models`
        seconds: length of what is new; None is the model's default
        count: how many clips
        seed: of the first clip; below 0 a random one is drawn
        sampler: the name of a sampler's class; "" is the model's own
        options: of the sampler, by name
        guidance: how strongly a level follows its context; None is the model's own
        prompt: reference of a file to continue, or to repair with `start` and `stop`
        start: where the part to regenerate begins, in seconds
        stop: where it ends
        init: reference of a file that the result is to resemble
        strength: how much of it to keep, 0 to 1
        label: of `foundation.control.Control`, with tags, tempo and key
        tags: how much of each tag
        tempo: in beats a minute
        key: such as "A minor"
        reliance: how much to rely on label, tags, tempo and key, Control's guidance
    """

    model: str = "base"
    seconds: float | None = None
    count: int = 1
    seed: int = -1
    sampler: str = ""
    options: dict[str, float] = field(default_factory=dict)
    guidance: float | None = None
    prompt: str = ""
    start: float | None = None
    stop: float | None = None
    init: str = ""
    strength: float = 0.5
    label: str = ""
    tags: str = ""
    tempo: float | None = None
    key: str = ""
    reliance: float = GUIDANCE

    def __post_init__(self) -> None:
        """Raise UserError for values that no model takes."""
        if not 1 <= self.count <= MOST:
            raise UserError(f"count must be between 1 and {MOST}, got {self.count}")
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise UserError(f"seconds must be above 0, at most {LONGEST:.0f}, got {self.seconds}")
        if (self.start is None) != (self.stop is None):
            raise UserError("a part to regenerate needs a start and an end")
        if self.kind == "repair" and self.seconds is not None:
            raise UserError("give a part to regenerate, or seconds to continue by, not both")
        if self.kind == "continue" and self.seconds is None:
            raise UserError("give the seconds by which the file is continued")
        self.control()
        if self.seed < 0:
            object.__setattr__(self, "seed", secrets.randbelow(SEEDS))

    @classmethod
    def of(cls, settings: Mapping) -> "ClipRequest":
        """Make a request of JSON; UserError for names that it hasn't."""
        known = {part.name for part in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise UserError(f"unknown settings {', '.join(unknown)}: there are {sorted(known)}")
        return cls(**settings)

    @property
    def kind(self) -> str:
        if not self.prompt:
            return "make"
        return "continue" if self.start is None else "repair"

    def control(self) -> Control:
        """Return what the music is to be like; UserError for what can't be read."""
        key, label, tags = self.key or None, self.label or None, self.tags or None
        return Control(label, tags, self.tempo, key, self.reliance)

    def again(self) -> "ClipRequest":
        """Return the same request with the seeds that follow."""
        return replace(self, seed=self.seed + self.count)


def varied(request: ClipRequest, clip: str, seconds: float, takes_init: bool) -> ClipRequest:
    """Ask for variations of a clip: it is the initial audio, or its middle half is regenerated."""
    plain = replace(request, seed=-1, prompt="", start=None, stop=None, init="", seconds=None)
    if takes_init:
        return replace(plain, init=clip, strength=VARIED)
    return replace(plain, prompt=clip, start=seconds / 4, stop=seconds * 3 / 4)


def work_of(request: ClipRequest, library: Library, models: Models) -> Work:
    """Return the work of a job; UserError where a file or the model isn't there."""
    source = library.model(request.model)
    files = {"prompt": request.prompt, "init": request.init}
    paths = {name: library.file(f, AUDIO_SUFFIXES) for name, f in files.items() if f}
    if request.start is not None and request.stop is not None and "prompt" in paths:
        check_part(request.start, request.stop, paths["prompt"])

    def work(folder: Path, device: torch.device, on_step: OnStep) -> list[Path]:
        with models.loaded(source, device) as model:
            return make(request, source, paths, model, folder, on_step)

    return work


def check_part(start: float, stop: float, path: Path) -> None:
    """Raise UserError for a part, in seconds, that isn't in a file."""
    info = probe(path)
    length = info.num_samples / info.sample_rate
    if not 0 <= start < stop <= length:
        raise UserError(
            f"a part needs 0 <= start < end <= {length:.2f} s, the file's length, "
            f"got {start} and {stop}"
        )


@torch.inference_mode()
def make(
    request: ClipRequest,
    source: str,
    paths: Mapping[str, Path],
    model: AudioModel,
    folder: Path,
    on_step: OnStep,
) -> list[Path]:
    """Generate what a request asks for and write it to a folder, as `sample` would; its files."""
    own = getattr(model, "sampler", None)
    sampler = sampler_of(own, model.sampler_type, request.sampler, request.options)
    part = None if request.start is None or request.stop is None else (request.start, request.stop)
    prompt = Prompt(paths["prompt"], model, part) if "prompt" in paths else None
    init = None
    if "init" in paths:
        init = read_init(paths["init"], request.seconds, model.sample_rate, "skip")
    asked = asked_for(model, None, request.control())
    settings = as_sample_settings(request, source, paths)
    out, files = SampleFolder(folder), []
    with guidance_of(model, request.guidance):
        for first, number in batches(request.count, BATCH):
            clips = model.generate(
                request.seconds, count=number, init=init, strength=request.strength,
                prompt=prompt and prompt.audio, keep=prompt and prompt.keep,
                sampler=sampler, seed=request.seed + first,
                cond=asked if isinstance(asked, Control) else None,
                on_step=in_all(on_step, first, number, request.count),
            ).float().cpu()  # fmt: skip
            one = {"seed": request.seed + first, "count": number, "batch_size": number}
            files += out.write(clips, model, sampler, settings | one, prompt)
    return files


def in_all(on_step: OnStep, first: int, number: int, count: int) -> OnStep:
    """Return what counts the steps of one batch among those of all clips."""
    return lambda done, total: on_step(first * total + done * number, count * total)


def as_sample_settings(request: ClipRequest, source: str, paths: Mapping[str, Path]) -> dict:
    """Return the settings with which `sample --config` makes the clips again."""
    part = None if request.start is None else [request.start, request.stop]
    files = {name: str(path) for name, path in paths.items()}
    return {
        "checkpoint": source,
        "seconds": request.seconds,
        "prompt": files.get("prompt"),
        "regenerate": part,
        "init_audio": files.get("init"),
        "init_strength": request.strength,
        "label": request.label or None,
        "tags": request.tags or None,
        "tempo": request.tempo,
        "key": request.key or None,
        "guidance": request.reliance,
    }


def sampler_of(
    own: Sampler | None, kind: type[Sampler], name: str, options: Mapping[str, float]
) -> Sampler | None:
    """Return a sampler of a kind by its class's name, or one's own for "", with these options.

    Raises:
        UserError: for a sampler of another kind, and options that it hasn't
    """
    kinds = {one.__name__: one for one in samplers(kind)}
    if name and name not in kinds:
        raise UserError(f"{name} can't sample this model: choose one of {', '.join(kinds)}")
    chosen = kinds[name]() if name and name != type(own).__name__ else own
    if not options or chosen is None:
        return chosen
    kinds_of = {part.name: type(getattr(chosen, part.name)) for part in fields(chosen)}  # type: ignore
    if unknown := sorted(set(options) - set(kinds_of)):
        raise UserError(f"{type(chosen).__name__} has no {', '.join(unknown)}")
    return replace(chosen, **{key: kinds_of[key](value) for key, value in options.items()})  # type: ignore


def as_json(request: ClipRequest) -> dict:
    """Return a request as JSON, without what was left at its default."""
    plain = {part.name: part.default for part in fields(ClipRequest)}
    made = {name: value for name, value in asdict(request).items() if value != plain[name]}
    return {"model": request.model, **made}
