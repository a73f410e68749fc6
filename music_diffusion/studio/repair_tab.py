"""Repair and continue: a part of a file is made anew, or what comes after it, in variants."""

# pyright: reportMissingImports=false
from dataclasses import dataclass

import gradio as gr

from foundation.errors import UserError
from music_diffusion.studio.control_form import ControlForm
from music_diffusion.studio.forms import errors_shown, job_list, reference, source_of, user
from music_diffusion.studio.model_form import ModelForm
from music_diffusion.studio.studio import Studio

NO_PART = "no part is chosen: drag over the waveform, or type where it starts and ends"
REPAIR, CONTINUE = "Repair the chosen part", "Continue after its end"


@dataclass(frozen=True)
class RepairTab:
    """What the page connects with other tabs."""

    model: gr.Dropdown
    jobs: gr.HTML
    source: gr.HTML
    what: gr.Radio


def build(studio: Studio) -> RepairTab:
    """Add the tab to the page."""
    source = source_of("Music file", region=True)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            what = gr.Radio([REPAIR, CONTINUE], value=REPAIR, label="What to do")
            seconds = gr.Slider(1, 60, value=5, step=0.5, label="Seconds to add", visible=False)
            form = ModelForm.build(studio, 3, clips="Variants")
            told = ControlForm.build(studio, form.model)
            start = gr.Button("Make variants", variant="primary")
        with gr.Column(scale=2, min_width=300):
            jobs = job_list(["repair", "continue"])
    what.change(
        lambda what: gr.update(visible=what == CONTINUE), what, seconds,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    what.change(None, what, js=f"(what) => studio.partial(document, what === {REPAIR!r})")

    @errors_shown(studio)
    def submit(request: gr.Request, what, seconds, source, *values):
        if not source:
            raise UserError("choose a music file first, or record one")
        asked, model = values[: len(told.inputs)], values[len(told.inputs) :]
        settings = ModelForm.settings(*model) | ControlForm.settings(*asked)
        settings |= {"prompt": reference(source)}
        if what == CONTINUE:
            settings["seconds"] = seconds
        elif source["start"] is None or source["stop"] is None:
            raise UserError(NO_PART)
        else:
            settings |= {"start": source["start"], "stop": source["stop"]}
        studio.make(settings, user(request))

    inputs = [what, seconds, source, *told.inputs, *form.inputs]
    start.click(submit, inputs, api_visibility="private")
    return RepairTab(form.model, jobs, source, what)
