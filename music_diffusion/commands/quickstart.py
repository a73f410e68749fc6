"""quickstart: train a small SEDD on the embedded demo music and sample, in minutes on a CPU."""

from pathlib import Path

from music_diffusion.commands.sample import sample
from music_diffusion.commands.training import train

NAME = "quickstart"
ROOT = Path("runs", NAME)
CONFIGS = ("sedd_absorb", "tiny", "quickstart")


def quickstart() -> None:
    """Train, or resume what was trained, and sample."""
    fit = [part for config in CONFIGS for part in ("--config", config)]
    fit += ["--name", NAME, "--trainer.devices", "1"]
    if (ROOT / "checkpoints" / "last.ckpt").is_file():
        print(f"What {ROOT} holds isn't trained again; remove that folder to start anew.")
        fit += ["--ckpt_path", "last"]
    train("fit", fit)
    samples = ROOT / "samples"
    seed = len(list(samples.glob("*.wav")))  # a second call makes others
    checkpoint = str(ROOT / "checkpoints" / "best.ckpt")
    sample(checkpoint, str(samples), seconds=5, count=2, steps=48, seed=seed)
    print(f"Demos are in {ROOT}/demos, checkpoints in {ROOT}/checkpoints, ", end="")
    print(f"generated audio in {samples}.")
    print("After so few steps it is noise in the music's colour: the README shows how to continue.")
