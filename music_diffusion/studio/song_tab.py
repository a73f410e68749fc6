"""Song: the levels of Jukebox Diffusion and the stereo finish, with initial and context audio."""

# pyright: reportMissingImports=false
import gradio as gr

from jbdiff.noise_paths import STYLES
from jbdiff.song_settings import PARTS
from music_diffusion.studio.forms import errors_shown, job_list, numbers, reference, source_of, user
from music_diffusion.studio.songs import usual_options
from music_diffusion.studio.studio import Studio

NONE = "left out"
TITLES = {
    "level_3": "Level 3, the coarsest",
    "level_2": "Level 2",
    "level_1": "Level 1",
    "level_0": "Level 0, the finest",
    "dance": "Dance Diffusion, stereo",
}


def build(studio: Studio) -> gr.HTML:
    """Add the tab to the page; return its list of jobs."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            seconds = gr.Slider(1, 180, value=12, step=1, label="Seconds")
            count = gr.Slider(1, 4, value=1, step=1, label="Songs")
            seed = gr.Number(-1, precision=0, label="Seed (-1 draws one)")
            parts = {name: part(studio, name) for name in PARTS}
            with gr.Accordion("Start from a file (init)", open=False):
                init = source_of("Initial audio of the song")
                strength = gr.Slider(0, 1, value=0.5, step=0.05, label="How much of it to keep")
            with gr.Accordion("Continue a file (context)", open=False):
                context = source_of("Context audio")
            noise = noise_form()
            start = gr.Button("Make the song", variant="primary")
        with gr.Column(scale=2, min_width=300):
            jobs = job_list(["song"])
    models = [model for model, _ in parts.values()]
    options = [given for _, given in parts.values()]

    @errors_shown(studio)
    def submit(request: gr.Request, seconds, count, seed, init, strength, context, *rest):
        style, step, dance, follow, *values = rest
        chosen, given = values[: len(PARTS)], values[len(PARTS) :]
        used = {name: model for name, model in zip(PARTS, chosen, strict=True) if model != NONE}
        settings = {
            "models": used,
            "options": {n: filled(o) for n, o in zip(PARTS, given, strict=True) if n in used},
            "seconds": seconds,
            "count": int(count),
            "seed": int(-1 if seed is None else seed),
            "init": reference(init),
            "context": reference(context),
            "strength": strength,
            "noise_style": style,
            "noise_step_size": step,
            "dance_noise_style": dance,
            "follow": follow,
        }
        studio.make_song(settings, user(request))

    inputs = [seconds, count, seed, init, strength, context, *noise, *models, *options]
    start.click(submit, inputs, api_visibility="private")
    return jobs


def part(studio: Studio, name: str) -> tuple[gr.Dropdown, gr.HTML]:
    """Add the choice of a part's model, and its options."""
    names = studio.models_of(name)
    sampler, options = usual_options(name)
    with gr.Accordion(TITLES[name], open=name == "level_3"):
        usual = names[0] if name == "level_3" and names else NONE
        model = gr.Dropdown([NONE, *names], value=usual, label=f"Model of {TITLES[name]}")
        gr.Markdown(f"Sampled by {sampler}")
        return model, numbers(options)


def noise_form() -> list:
    """Add the noise from window to window."""
    with gr.Accordion("Noise from window to window", open=False):
        style = gr.Dropdown(list(STYLES), value="random", label="Noise style of the first level")
        step = gr.Slider(0, 1, value=0.6, step=0.05, label="How far region and walk go")
        dance = gr.Dropdown(list(STYLES), value="random", label="Noise style of Dance Diffusion")
        follow = gr.Checkbox(True, label="Windows follow each other (else each the context)")
    return [style, step, dance, follow]


def filled(options: dict | None) -> dict[str, float]:
    return {name: value for name, value in (options or {}).items() if value is not None}
