"""Runs: the listening page of a run, with its demos and curves, while it trains and after."""

# pyright: reportMissingImports=false
import gradio as gr

from music_diffusion.studio.choices import Choice
from music_diffusion.studio.forms import component
from music_diffusion.studio.studio import Studio


def build(studio: Studio) -> Choice:
    """Add the tab to the page; return the choice of the run."""
    runs = studio.library.runs()
    chosen = gr.Dropdown(runs, value=runs[0] if runs else None, label="Run, newest first")
    shown = component("run", "studio.run(element, props, watch);", runs[0] if runs else None)
    chosen.change(
        lambda run: run, chosen, shown, show_progress="hidden", api_visibility="private"
    )  # fmt: skip
    return Choice(chosen, lambda found: found.runs)
