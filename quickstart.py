"""Train a small SEDD on the embedded demo music and generate with it, in a few minutes on a CPU."""

import sys

from cli import main

ROOT = "runs/quickstart"
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

if __name__ == "__main__":
    status = main(FIT) or main(SAMPLE)
    if status == 0:
        print(f"Demos are in {ROOT}/demos, checkpoints in {ROOT}/checkpoints, ", end="")
        print(f"generated audio in {ROOT}/samples.")
    sys.exit(status)
