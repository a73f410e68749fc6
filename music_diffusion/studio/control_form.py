"""The part of a form that says what the music is to be like, for models that can be told."""

# pyright: reportMissingImports=false
from dataclasses import dataclass

import gradio as gr

from foundation.conditions import Conditions
from foundation.control import GUIDANCE
from foundation.errors import UserError
from foundation.musical_key import KEYS
from music_diffusion.studio.forms import errors_shown
from music_diffusion.studio.studio import Studio


@dataclass(frozen=True)
class ControlForm:
    """Labels, tags, tempo and key, of which those are shown that the chosen model knows."""

    labels: gr.Dropdown
    tags: gr.Textbox
    tempo: gr.Textbox
    key: gr.Dropdown
    reliance: gr.Slider

    @classmethod
    def build(cls, studio: Studio, model: gr.Dropdown) -> "ControlForm":
        """Add it to the page."""
        with gr.Accordion("Labels, tags, tempo and key", open=True, visible=False) as shown:
            labels = gr.Dropdown([], multiselect=True, label="Labels")
            tags = gr.Textbox(label="Tags")
            tempo = gr.Textbox(label="Tempo in beats a minute")
            key = gr.Dropdown(["", *KEYS], value="", label="Key")
            reliance = gr.Slider(0, 8, value=GUIDANCE, step=0.25, label="How much to rely on them")

        @errors_shown(studio)
        def look(model: str):
            return updates(studio.facts(model).conditions)

        outputs = [shown, labels, tags, tempo, key]
        model.change(look, model, outputs, show_progress="hidden", api_visibility="private")
        return cls(labels, tags, tempo, key, reliance)

    @property
    def inputs(self) -> list:
        return [self.labels, self.tags, self.tempo, self.key, self.reliance]

    @staticmethod
    def settings(labels, tags, tempo, key, reliance) -> dict:
        """Return what a job is asked for, of the values of `inputs`."""
        asked = {"label": ", ".join(labels or []), "tags": tags or "", "key": key or ""}
        return asked | {"tempo": number(tempo), "reliance": reliance}


def updates(known: Conditions) -> tuple:
    """Return what the form shows for a model that knows these."""
    names = f"Tags, such as piano=1, drums=0; known are {', '.join(known.tags)}"
    return (
        gr.update(visible=bool(known)),
        gr.update(choices=known.labels, value=[], visible=bool(known.labels)),
        gr.update(value="", visible=bool(known.tags), label=names),
        gr.update(value="", visible=known.tempo),
        gr.update(value="", visible=known.key),
    )


def number(text: str | None) -> float | None:
    """Read a number that may be left empty; UserError for other text."""
    if not (text or "").strip():
        return None
    try:
        return float(text or "")
    except ValueError as error:
        raise UserError(f"the tempo is a number of beats a minute, got {text!r}") from error
