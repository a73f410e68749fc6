"""export: a checkpoint's averaged weights, settings and model card in a folder."""

from music_diffusion.checkpoints.export import export
from music_diffusion.commands.options import call


def run(args: list[str]) -> None:
    made = call("export", export, args)
    part = made.size / made.checkpoint_size
    print(
        f"{made.size / 1e6:.2f} MB in {made.folder}, {part:.0%} of the "
        f"{made.checkpoint_size / 1e6:.2f} MB before"
    )
