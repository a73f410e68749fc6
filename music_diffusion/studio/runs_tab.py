"""Runs: the listening page of a run, with its demos and curves, while it trains and after."""

# pyright: reportMissingImports=false
import json

import gradio as gr

from foundation.program import program
from music_diffusion.studio.choices import Choice
from music_diffusion.studio.clips import without_paths
from music_diffusion.studio.forms import component
from music_diffusion.studio.library import OWN
from music_diffusion.studio.studio import Studio


def build(studio: Studio) -> Choice:
    """Add the tab to the page; return the choice of the run."""
    runs = studio.library.runs()
    chosen = gr.Dropdown(runs, value=runs[0] if runs else None, label="Run, newest first")
    script = f"studio.run(element, props, watch, {json.dumps(nothing(studio))});"
    shown = component("run", script, runs[0] if runs else None)
    chosen.change(
        lambda run: run, chosen, shown, show_progress="hidden", api_visibility="private"
    )  # fmt: skip
    return Choice(chosen, lambda found: found.runs)


def nothing(studio: Studio) -> str:
    """Say where runs are looked for, and what makes one."""
    folders = " and ".join(name for name in studio.library.roots if name != OWN)
    text = (
        f"Nothing trained yet: runs are looked for in {folders or 'no folder'}. "
        f"`{program()} fit` trains one into runs/NAME; the tab Data gives the whole command for a "
        "folder of music."
    )
    return without_paths(text, studio.library)
