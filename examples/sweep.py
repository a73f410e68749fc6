"""Look for settings by short trainings, and print a table.

    python examples/sweep.py MUSIC [trials=2] [OPTION=VALUE ...]

With Optuna (pip install optuna) the runs before decide what is tried next, and sweep.db remembers
them: called again it continues. Without it, settings are drawn at random. Each training must
validate, which it does every 250 steps or, where it has fewer, at its end.
"""

import math
import random
import sys
from collections.abc import Callable
from typing import Protocol

import yaml

import music_diffusion as md

try:
    import optuna  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError:
    optuna = None


class Trial(Protocol):
    """What proposes values: Optuna's trial, or ours."""

    number: int

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float: ...


class RandomTrial:
    """Draw each value at random, evenly over its logarithm."""

    def __init__(self, number: int):
        self.number, self.draw = number, random.Random(number)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = True) -> float:
        return math.exp(self.draw.uniform(math.log(low), math.log(high)))


def settings(trial: Trial) -> dict[str, float]:
    """Propose what is to be found; add to it what you want to know."""
    return {
        "model.learning_rate": trial.suggest_float("model.learning_rate", 2e-4, 4e-3, log=True),
        "model.weight_decay": trial.suggest_float("model.weight_decay", 0.01, 1.0, log=True),
    }


def search(objective: Callable[[Trial], float], trials: int) -> None:
    if optuna is None:
        for number in range(trials):
            objective(RandomTrial(number))
        return
    study = optuna.create_study(
        study_name="sweep", storage="sqlite:///sweep.db", load_if_exists=True
    )
    study.optimize(objective, n_trials=trials)


def main(music: str, *rest: str) -> None:
    options = {name: yaml.safe_load(value) for name, value in (one.split("=", 1) for one in rest)}
    trials, rows = options.pop("trials", 2), []
    steps = {"trainer.max_steps": options.get("trainer.max_steps", 500)}
    steps["trainer.val_check_interval"] = min(250, steps["trainer.max_steps"])  # val/loss is judged

    def objective(trial: Trial) -> float:
        tried = settings(trial)
        model = md.fit(
            ["sedd_absorb", "tiny"],
            name=f"sweep_{trial.number}",
            options={"data.audio": music} | steps | tried | options,
        )
        measured = model.trainer.callback_metrics
        if "val/loss" not in measured:
            sys.exit(
                "no validation in so few steps: add trainer.val_check_interval=STEPS, at most "
                f"{model.trainer.global_step}"
            )
        loss = float(measured["val/loss"])
        rows.append((loss, *tried.values(), f"runs/sweep_{trial.number}"))
        return loss

    search(objective, trials)
    print("val/loss  learning rate  weight decay  run")
    for loss, rate, decay, run in sorted(rows):
        print(f"{loss:8.4f}  {rate:13.2e}  {decay:12.3f}  {run}")


if __name__ == "__main__":
    sys.excepthook = md.excepthook  # a wrong path is told in a line
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
