"""quickstart: music by the base model at once, then fine-tuned for two minutes, on a CPU."""

from pathlib import Path

from audio import files as audio
from audio.page.write import update_page, write_comparison
from audio.spectrogram import write_spectrograms
from foundation.checks import check_at_least
from music_diffusion.commands.options import call
from music_diffusion.commands.sample import sample
from music_diffusion.commands.training import train

NAME = "quickstart"
ROOT = Path("runs", NAME)
CONFIGS = ("jbdiff", "level3_small", "quickstart")
SECONDS = 10.0
COUNT = 2
LEARNING_RATE = 3e-4  # a third of what training starts with


def run(args: list[str]) -> None:
    call("quickstart", quickstart, args)


def quickstart(audio: str | None = None, minutes: float = 2.0) -> None:
    """Play the base model, fine-tune it to music for a few minutes, and play the same seeds again.

    Args:
        audio: a folder of music to fine-tune to; the built-in demo music if null
        minutes: how long to fine-tune
    """
    check_at_least(0, minutes=minutes)
    before = play("base", "before")
    print(f"{SECONDS:g} s of music by the base model, with its picture: {before[0]}\n")
    fit = [part for config in CONFIGS for part in ("--config", config)]
    fit += ["--name", NAME, "--trainer.devices", "1", "--trainer.max_time", duration(minutes)]
    fit += ["--model.init_from", "base", "--model.learning_rate", str(LEARNING_RATE)]
    if (ROOT / "checkpoints" / "last.ckpt").is_file():
        print(f"What {ROOT} holds isn't trained again; remove that folder to start anew.")
        fit += ["--ckpt_path", "last"]
    if audio is not None:
        fit += [f"--data.audio={audio}"]
    train("fit", fit)
    after = play(str(ROOT / "checkpoints" / "last.ckpt"), "after")
    for pair in zip(before, after, strict=True):
        print(f"before and after: {compare(*pair)}")
    update_page(ROOT)
    page = write_comparison([ROOT / "before", ROOT / "after"], ROOT / "compare")
    print(f"To hear them side by side, open {page} in a browser.")
    print(f"Audio is in {ROOT}/before and {ROOT}/after, demos from training in {ROOT}/demos.")


def play(checkpoint: str, name: str) -> list[Path]:
    """Sample with the next seeds, so that a second call of quickstart makes other music."""
    folder = ROOT / name
    seed = len(list(folder.glob("*.wav")))
    return sample(checkpoint, str(folder), seconds=SECONDS, count=COUNT, seed=seed)


def compare(before: Path, after: Path) -> Path:
    """Draw two files below each other; return the picture."""
    clips = {"before": audio.read(before), "after": audio.read(after)}
    path = ROOT / f"{before.stem}.png"
    write_spectrograms(path, clips, audio.probe(before).sample_rate)
    return path


def duration(minutes: float) -> str:
    """Write minutes as Lightning's max_time takes them: days, hours, minutes, seconds."""
    seconds = round(60 * minutes)
    return f"00:{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
