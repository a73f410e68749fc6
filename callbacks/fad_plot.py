"""Distances and losses over the steps, as a plot and a table."""

import csv
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from foundation.files import replacing

Rows = list[dict[str, float]]


def write_csv(path: Path, rows: Rows) -> None:
    """Write a row for each measurement."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, rows: Rows) -> np.ndarray:
    """Plot fad/…, kad/… and losses, floors dashed; return the picture [H, W, 3] in 0..255."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    panels = {
        "Frechet distance": [name for name in names if name.startswith("fad/")],
        "kernel distance": [name for name in names if name.startswith("kad/")],
        "loss": [name for name in names if name.endswith("/loss")],
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    figure = Figure(figsize=(7, 2.6 * len(panels)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for name in lines:
            points = [(row["step"], row[name]) for row in rows if name in row]
            style = "--" if name.endswith("_floor") else "o-"
            axis.plot(*zip(*points, strict=True), style, label=name, markersize=3)
        axis.set_ylabel(title)
        axis.legend()
    axes[-1].set_xlabel("step")
    with replacing(path) as temporary:
        canvas.print_png(str(temporary))
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def log_picture(logger: Logger, tag: str, path: Path, picture: np.ndarray, step: int) -> None:
    """Send a picture to a logger that takes them."""
    if isinstance(logger, WandbLogger):
        logger.log_image(tag, [str(path)], step=step)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, picture, step, dataformats="HWC")
