"""`cli.py sample`: audio from SEDD, from nothing, after a prompt or inside one."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from sedd.generation import generate, plan
from sedd.module import SEDD

Load = Callable[[str, str], nn.Module]  # a checkpoint and an accelerator to a model on it
Save = Callable[[str, Iterable[Tensor], int], None]


def sample(
    load: Load,
    save: Save,
    checkpoint: str,
    out: str = "samples",
    seconds: float = 10.0,
    count: int = 4,
    sampler: str = "analytic",
    steps: int = 128,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 4,
    prompt: str | None = None,
    regenerate: tuple[float, float] | None = None,
    accelerator: str = "auto",
) -> None:
    """Generate audio from a checkpoint, to OUT/sample_0.wav and so on.

    Args:
        load: rebuilds a model from a checkpoint
        save: writes audio [C, T] of a rate to a folder, one after another
        checkpoint: a checkpoint of fit, whose averaged weights are used, or what export wrote
        out: the folder that gets the WAV files and their spectrograms
        seconds: length of each file
        count: how many files
        sampler: analytic, euler or first_hitting (absorb only)
        steps: the sampler's steps; for first_hitting at most this many network calls
        temperature: below 1 keeps to likelier tokens
        top_p: draw from the likeliest tokens that together have this probability
        seed: the same seed gives the same audio
        batch_size: how many files are generated at once
        prompt: a music file to continue, or to repair with --regenerate
        regenerate: start and end in seconds of the part of the prompt to make anew, '[4.0, 6.5]'
        accelerator: auto, cpu, gpu, …
    """
    module = load(checkpoint, accelerator)
    if not isinstance(module, SEDD):
        kind = type(module).__name__
        raise ValueError(
            f"sample takes a SEDD checkpoint, this one is of {kind}: see sample jbdiff --help and "
            "sample dance --help"
        )
    made = generate(
        module, plan(module, seconds, prompt, regenerate),
        count, batch_size, sampler, steps, temperature, top_p, seed,
    )  # fmt: skip
    save(out, made, module.sample_rate)
