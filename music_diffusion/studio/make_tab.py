"""Make: new clips by a model, from nothing or like another clip."""

# pyright: reportMissingImports=false
from dataclasses import dataclass

import gradio as gr

from music_diffusion.studio.control_form import ControlForm
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
            told = ControlForm.build(studio, form.model)
            with gr.Accordion("Start from a file (init)", open=False) as inits:
                init = source_of("Initial audio")
                strength = gr.Slider(0, 1, value=0.5, step=0.05, label="How much of it to keep")
            start = gr.Button("Make", variant="primary")
        with gr.Column(scale=2, min_width=300):
            jobs = job_list(["make", "repair", "continue"])

    @errors_shown(studio)
    def submit(request: gr.Request, seconds, init, strength, *values):
        asked, model = values[: len(told.inputs)], values[len(told.inputs) :]
        settings = {"seconds": seconds, "init": reference(init), "strength": strength}
        settings |= ModelForm.settings(*model) | ControlForm.settings(*asked)
        studio.make(settings, user(request))

    inputs = [seconds, init, strength, *told.inputs, *form.inputs]
    start.click(submit, inputs, api_visibility="private")
    return MakeTab(form.model, jobs, init, inits)
