"""Train a small SEDD on the embedded demo music and generate with it, in a few minutes on a CPU."""

from pathlib import Path

from music_diffusion.commands.main import main

ROOT = "runs/quickstart"
LAST = Path(ROOT, "checkpoints", "last.ckpt")
FIT = [
    "fit",
    *("--config", "configs/sedd_absorb.yaml"),
    *("--config", "configs/tiny.yaml"),
    *("--config", "configs/quickstart.yaml"),
    *("--trainer.default_root_dir", ROOT),
]
SAMPLE = [
    *("sample", f"{ROOT}/checkpoints/best.ckpt", "--out", f"{ROOT}/samples"),
    *("--count", "2", "--seconds", "5", "--steps", "48"),
]


def quickstart() -> int:
    """Train, or go on with what was trained, and sample; return the exit status."""
    fit = FIT
    if LAST.is_file():
        print(f"What {ROOT} holds isn't trained again; remove that folder to start anew.")
        fit = [*FIT, "--ckpt_path", str(LAST)]
    seed = len(list(Path(ROOT, "samples").glob("*.wav")))  # a second call makes others
    status = main(fit) or main([*SAMPLE, "--seed", str(seed)])
    if status == 0:
        print(f"Demos are in {ROOT}/demos, checkpoints in {ROOT}/checkpoints, ", end="")
        print(f"generated audio in {ROOT}/samples.")
        print("After so few steps it is noise in the music's colour: the README goes on from here.")
    return status
