"""sample: audio from a model, from nothing, after a prompt or inside one, or like another file."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

import sedd.confidence
import sedd.remasking  # noqa: F401 (imported so that every sampler's short name is known)
from audio import files as audio
from foundation.audio_module import AudioModel
from foundation.batch import Cond
from foundation.checks import check_at_least, check_fraction
from foundation.control import GUIDANCE, Control
from foundation.errors import UserError
from foundation.files import user_path
from foundation.request import check_seconds
from foundation.sampler import Sampler
from jbdiff.published import published_models
from jbdiff.song_maker import make_song as make_with
from jbdiff.song_settings import Song
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands.options import call
from music_diffusion.commands.prompt import Prompt
from music_diffusion.commands.runs import find_checkpoint
from music_diffusion.commands.sample_files import SampleFolder
from music_diffusion.commands.seeds import chosen_seed
from music_diffusion.own_parts import check_own_sampler

log = logging.getLogger(__name__)
Asked = Control | Mapping[str, str] | None
MORE = 60  # seconds of initial audio after the last that a window of the result may reach
DELAY = 0.5  # seconds before a bar is shown, in which a model refuses what it can't do
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left"


def run(args: list[str]) -> None:
    """Sample, or make a song where the first argument is jbdiff."""
    if args[:1] == ["jbdiff"]:
        make_song(call("sample jbdiff", Song, args[1:]))
        return
    dance = args[:1] == ["dance"]  # as it was called for published files of Dance Diffusion
    files = call("sample", sample, args[1:] if dance else args)
    names = ", ".join(path.name for path in files)
    print(f"{names}, with spectrograms and settings, in {files[0].parent}")


def sample(
    checkpoint: str,
    out: str = "samples",
    seconds: float | None = None,
    count: int = 4,
    sampler: Sampler | None = None,
    steps: int | None = None,
    seed: int = 0,
    batch_size: int = 4,
    prompt: str | None = None,
    regenerate: tuple[float, float] | None = None,
    init_audio: str | None = None,
    init_strength: float = 0.5,
    cond: dict[str, str] | None = None,
    label: str | None = None,
    tags: str | None = None,
    tempo: float | None = None,
    key: str | None = None,
    guidance: float = GUIDANCE,
    sample_rate: int | None = None,
    accelerator: str = "auto",
    too_loud: Literal["skip", "clip", "scale"] = "skip",
) -> list[Path]:
    """Generate audio with a model; return the files, OUT/sample_0.wav and so on.

    Beside each are its spectrogram and a JSON file with the settings that make it again:
    sample --config OUT/sample_0.json. Files that are there already stay, new ones are numbered on.

    Args:
        checkpoint: a checkpoint of fit (its averaged weights), `last` or `best` of the newest run,
            what export wrote, or a published file of Dance Diffusion
        out: the folder that gets the files
        seconds: length of what is generated; the default is the model's, or the initial audio's
        count: how many files
        sampler: FirstHitting, Analytic, Euler, ReMDM or ConfidenceOrder for SEDD, DDIM, DPM, Heun
            or IPLMS for the others, with options of its own such as --sampler.steps; the default
            is the model's
        steps: the sampler's steps
        seed: clip i has the noise of seed + i; on a CPU it is the same file, to the bit, whatever
            the count; -1 takes a seed at random and says which
        batch_size: how many files an accelerator generates at once, which changes how it rounds; a
            CPU, where it would save no time, generates them one by one
        prompt: a music file to continue, or to repair with --regenerate
        regenerate: start and end of the part of the prompt to regenerate, in seconds: 4.0,6.5
        init_audio: a music file that the result is to resemble
        init_strength: how much of it to keep: 0 nothing, 1 all of it
        cond: metadata by name for a network of your own that reads it: --cond.folder NAME
        label: a label that the model was trained with, such as a folder's name; of several fields
            'genre=jazz, mood=calm'
        tags: how much of each tag, 0 (none) to 1 (most), such as 'piano=1, drums=0'
        tempo: in beats a minute
        key: such as 'A minor'
        guidance: how much to rely on label, tags, tempo and key: 1 is what training saw, more
            exaggerates, 0 leaves them out
        sample_rate: of a published file, which doesn't hold it, in Hz
        accelerator: auto, cpu, gpu, …
        too_loud: what to do with a prompt or initial audio of floats beyond 8, where full scale is
            1: skip is an error, clip limits them to 1, scale divides by their full scale or peak

    Raises:
        UserError: for what the model can't do, for values out of range, and for unreadable files
    """
    settings = {name: value for name, value in locals().items() if name != "sampler"}
    check_at_least(1, count=count, batch_size=batch_size)
    check_fraction(init_strength=init_strength)
    check_seconds(seconds)
    seed, folder = chosen_seed(seed), SampleFolder(out)
    settings["checkpoint"] = find_checkpoint(checkpoint)
    model = load_model(settings["checkpoint"], accelerator, sample_rate)
    asked = asked_for(model, cond, Control(label, tags, tempo, key, guidance))
    model.check_sampler(sampler)
    check_own_sampler(model, sampler)
    sampler = sampler or getattr(model, "sampler", None)
    if steps is not None:
        sampler = with_steps(sampler, steps)
    rate = model.sample_rate
    if regenerate is not None and prompt is None:
        raise UserError("regenerate needs a prompt, the file that is repaired")
    given = None
    if prompt is not None:
        given = Prompt(user_path(prompt, "prompt"), model, regenerate, too_loud)
    init = None
    if init_audio is not None:
        init = read_init(user_path(init_audio, "init_audio"), seconds, rate, too_loud)
    files, at_once = [], 1 if model.device.type == "cpu" else batch_size
    for first, number in batches(count, at_once):
        clip = f"{first + 1}" if number == 1 else f"{first + 1} to {first + number}"
        title, last = f"sampling {clip} of {count}", first + number == count
        with tqdm(desc=title, bar_format=BAR, leave=last, disable=None, delay=DELAY) as bar:
            clips = generate(
                model, bar, title, seconds=seconds, count=number, prompt=given and given.audio,
                keep=given and given.keep, init=init,
                strength=init_strength, sampler=sampler, seed=seed + first,
                cond=asked if isinstance(asked, Control) else repeated(asked, number),
            )  # fmt: skip
        one = {"seed": seed + first, "count": number, "batch_size": number, "steps": None}
        files += folder.write(clips, model, sampler, settings | one, given)
    return files


def asked_for(model: AudioModel, cond: dict[str, str] | None, control: Control) -> Asked:
    """Return what the model is told: a Control where it knows conditions or any are asked for."""
    if cond and model.conditions:
        control = replace(control, label={**cond, **control.labels})
    elif not control.asks:
        return cond
    model.told(control, 1)  # to refuse what it doesn't know before any sampling
    return control if control.asks else None


def repeated(cond: Mapping[str, str] | None, count: int) -> Cond | None:
    """Return metadata as that of each of `count` clips."""
    return {name: [value] * count for name, value in (cond or {}).items()} or None


@torch.inference_mode()
def generate(model: AudioModel, bar: tqdm, title: str, **options) -> Tensor:
    """Call a model's generate, showing how far it is; nothing of what it refuses at once."""
    told = not bar.disable  # by the bar

    def advance(done: int, total: int) -> None:
        nonlocal told
        if not told:
            log.info("%s", title)
            told = True
        bar.total = total
        bar.update(done - bar.n)

    return model.generate(**options, on_step=advance).float().cpu()


def batches(count: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Yield the first index and the size of each batch."""
    for first in range(0, count, batch_size):
        yield first, min(batch_size, count - first)


def with_steps(sampler: Sampler | None, steps: int) -> Sampler:
    """Return a sampler with other steps; UserError for one that has none."""
    if not (is_dataclass(sampler) and hasattr(sampler, "steps")):
        raise UserError(f"{type(sampler).__name__} has no steps to set: leave out --steps")
    return replace(sampler, steps=steps)


def read_init(path: Path, seconds: float | None, rate: int, too_loud: audio.TooLoud) -> Tensor:
    """Read initial audio [C, T]: all of it, or what `seconds` of a result can depend on."""
    with audio.Reader(path, rate, too_loud=too_loud) as reader:
        if reader.source.channels > 2:
            reader.channels = 2
        needed = reader.num_samples if seconds is None else round((seconds + MORE) * rate)
        return reader.read(0, max(1, needed))


def make_song(song: Song) -> Path:
    """Make a song with the models of its settings, or resume it; return its folder."""
    models = published_models(song)
    for name, checkpoint in song.checkpoints.items():
        if name in models:
            continue
        try:
            models[name] = load_model(checkpoint, song.accelerator)
        except UserError as error:
            raise UserError(f"{name}.checkpoint: {error}") from error
    return make_with(song, models)
