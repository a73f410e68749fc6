"""Compare: blind tests of two folders or models, by pairs or by ratings."""

# pyright: reportMissingImports=false
import gradio as gr

from music_diffusion.studio.choices import Choice
from music_diffusion.studio.forms import component, errors_shown, user
from music_diffusion.studio.studio import Found, Studio

PAIRS, RATINGS = "Pairs: which is better?", "Ratings from 1 to 5"
ABOUT = (
    "Two folders of music, or two models, which first make clips with the same seeds. Clips of the "
    "same name are heard as pairs; sides and order are random, loudness is made equal, both end "
    "where the shorter one does, and which was which is shown at the end."
)


def build(studio: Studio) -> list[Choice]:
    """Add the tab to the page; return the choices, which change as folders do."""
    gr.Markdown(ABOUT)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            names = sources(studio.found())
            first = gr.Dropdown(names, value=names[0], label="First")
            second = gr.Dropdown(names, value=names[1], label="Second")
            kind = gr.Radio([PAIRS, RATINGS], value=PAIRS, label="Kind of test")
            rounds = gr.Slider(1, 60, value=12, step=1, label="Trials")
            seconds = gr.Slider(1, 30, value=8, step=1, label="Seconds of models' clips")
            start = gr.Button("Start the test", variant="primary")
        with gr.Column(scale=2, min_width=300):
            trial = component("trial", "studio.trial(element, props, watch);")

    @errors_shown(studio)
    def begin(request: gr.Request, first, second, kind, rounds, seconds):
        kind = "pairs" if kind == PAIRS else "ratings"
        return studio.compare(kind, (first, second), int(rounds), seconds, user(request))

    inputs = [first, second, kind, rounds, seconds]
    start.click(begin, inputs, trial, api_visibility="private")
    return [Choice(side, sources) for side in (first, second)]


def sources(found: Found) -> list[str]:
    """List the models and the folders with audio."""
    return [*found.models, *found.folders]
