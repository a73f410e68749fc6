"""What the first minutes of training give.

    python -m benchmarks.first_minutes MUSIC VALID [--minutes 1 5 15 30] [--keep DIR]

Models are trained on MUSIC with the laptop's settings; after so many CPU minutes, which leave out
encoding and measuring, 8 clips of 8 s are judged: tonal peak, beat clarity, Frechet distance of
musicnn's vectors to 32 clips of VALID. "before" are the settings of the release before the spectral
codec: three quarters of a second to a window, from scratch. --keep keeps the checkpoints.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

import music_diffusion as md
from benchmarks.clip_judge import COLUMNS, ClipJudge

LEVEL_3 = ["jbdiff", "level3_small"]
SEDD = ["sedd_absorb", "tiny"]
BEFORE = {
    "model.codec": "codec.jukebox.JukeboxCodec",
    "model.net": "sedd.ddit.DDiT",
    "model.net.hidden_size": 192,
    "model.net.num_blocks": 4,
    "model.net.num_heads": 4,
    "model.net.dropout": 0.0,
    "model.objective": "sedd.objective.ScoreEntropy",
    "model.start_from_codebooks": False,
    "model.length": 256,
    "model.weight_decay": 0.0,
    "data.batch_size": 16,
}
BASE = {"model.init_from": "base", "model.learning_rate": 3e-4}
RUNS: dict[str, tuple[list[str], dict[str, object]]] = {
    "level 3, fine-tuned": (LEVEL_3, BASE),
    "level 3, from scratch": (LEVEL_3, {}),
    "SEDD, fine-tuned": (SEDD, BASE),
    "SEDD, from scratch": (SEDD, {}),
    "SEDD before": (SEDD, BEFORE),
}


class Judge(Callback):
    """Save the model after so many CPU minutes of training, judge it, and stop after the last."""

    def __init__(self, name: str, minutes: list[float], valid: str, keep: str | None = None):
        self.name, self.left, self.start = name, sorted(minutes), 0.0
        self.judge, self.keep = ClipJudge(valid), keep

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.process_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        now = time.process_time()
        if now - self.start < 60 * self.left[0]:
            return
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            path = Path(self.keep or folder, f"{self.name} {self.left[0]:g}.ckpt")
            trainer.save_checkpoint(path)  # it holds the averaged weights
            print(self.row(path, trainer.global_step), flush=True)
        self.left = self.left[1:]
        trainer.should_stop = not self.left
        self.start += time.process_time() - now

    def row(self, path: Path, step: int) -> str:
        model = md.load(path, accelerator="cpu")
        with torch.no_grad():
            audio = model.generate(8.0, count=8, seed=1)
        cells = self.judge.row(audio, model.sample_rate)
        return f"| {self.name} | {self.left[0]:g} | {step} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", help="a folder to train on")
    parser.add_argument("valid", help="a folder of other music, to compare with")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 15, 30])
    parser.add_argument("--keep", help="a folder for the checkpoints")
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    print(f"| | CPU minutes | steps | {COLUMNS} |\n|{' --- |' * 7}")
    for name in options.runs:
        configs, settings = RUNS[name]
        judge = {"name": name, "minutes": options.minutes, "valid": options.valid}
        judge["keep"] = options.keep
        callbacks = [
            {"class_path": "callbacks.ema.EMA", "init_args": {"decay": 0.998}},
            {"class_path": "benchmarks.first_minutes.Judge", "init_args": judge},
        ]
        with tempfile.TemporaryDirectory() as folder:
            md.fit(
                configs,
                options={
                    **settings,
                    "data.audio": options.music,
                    "trainer.default_root_dir": folder,
                    "trainer.logger": False,
                    "trainer.max_steps": -1,
                    "trainer.limit_val_batches": 0,
                    "trainer.enable_progress_bar": False,
                    "trainer.callbacks": callbacks,
                },
            )


if __name__ == "__main__":
    main()
