"""Make: new clips by a model, from nothing or like another clip."""

# pyright: reportMissingImports=false
from dataclasses import dataclass

import gradio as gr

from foundation.control import GUIDANCE
from foundation.errors import UserError
from foundation.musical_key import KEYS
from music_diffusion.studio.forms import errors_shown, job_list, reference, source_of, user
from music_diffusion.studio.model_form import ModelForm
from music_diffusion.studio.studio import Studio


@dataclass(frozen=True)
class MakeTab:
    """What the page connects with other tabs."""

    model: gr.Dropdown
    jobs: gr.HTML
    init: gr.HTML
    inits: gr.Accordion


def build(studio: Studio) -> MakeTab:
    """Add the tab to the page."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            seconds = gr.Slider(1, 60, value=10, step=0.5, label="Seconds", render=False)
            form = ModelForm.build(studio, 1, seconds)
            told = control_form(studio, form.model)
            with gr.Accordion("Start from a file (init)", open=False) as inits:
                init = source_of("Initial audio")
                strength = gr.Slider(0, 1, value=0.5, step=0.05, label="How much of it to keep")
            start = gr.Button("Make", variant="primary")
        with gr.Column(scale=2, min_width=300):
            jobs = job_list(["make", "repair", "continue"])

    @errors_shown(studio)
    def submit(request: gr.Request, seconds, init, strength, labels, tags, tempo, key, *values):
        reliance, *values = values
        settings = {"seconds": seconds, "init": reference(init), "strength": strength}
        settings |= {"label": ", ".join(labels or []), "tags": tags or "", "key": key or ""}
        settings |= {"tempo": number(tempo), "reliance": reliance}
        studio.make(ModelForm.settings(*values) | settings, user(request))

    inputs = [seconds, init, strength, *told, *form.inputs]
    start.click(submit, inputs, api_visibility="private")
    return MakeTab(form.model, jobs, init, inits)


def control_form(studio: Studio, model: gr.Dropdown) -> list:
    """Add what the model can be told of the music; it is hidden where that is nothing."""
    with gr.Accordion("Labels, tags, tempo and key", open=True, visible=False) as shown:
        labels = gr.Dropdown([], multiselect=True, label="Labels")
        tags = gr.Textbox(label="Tags, such as piano=1, drums=0")
        tempo = gr.Textbox(label="Tempo in beats a minute")
        key = gr.Dropdown(["", *KEYS], value="", label="Key")
        reliance = gr.Slider(0, 8, value=GUIDANCE, step=0.25, label="How much to rely on them")

    @errors_shown(studio)
    def look(model: str):
        known = studio.facts(model).conditions
        names = f"Tags, such as piano=1, drums=0: {', '.join(known.tags)}"
        return (
            gr.update(visible=bool(known)),
            gr.update(choices=known.labels, value=[], visible=bool(known.labels)),
            gr.update(
                value="", visible=bool(known.tags), label=f"{names}: {', '.join(known.tags)}"
            ),
            gr.update(value="", visible=known.tempo),
            gr.update(value="", visible=known.key),
        )

    outputs = [shown, labels, tags, tempo, key]
    model.change(look, model, outputs, show_progress="hidden", api_visibility="private")
    return [labels, tags, tempo, key, reliance]


def number(text: str | None) -> float | None:
    """Read a number that may be left empty; UserError for other text."""
    if not (text or "").strip():
        return None
    try:
        return float(text or "")
    except ValueError as error:
        raise UserError(f"the tempo is a number of beats a minute, got {text!r}") from error
