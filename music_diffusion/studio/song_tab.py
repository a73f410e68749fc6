"""Song: the levels of Jukebox Diffusion and the stereo finish, with initial and context audio."""

# pyright: reportMissingImports=false
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import gradio as gr

from foundation.conditions import Conditions
from foundation.musical_key import KEYS
from jbdiff.noise_paths import STYLES
from jbdiff.song_settings import PARTS
from music_diffusion.studio.choices import Choice
from music_diffusion.studio.forms import (
    component,
    errors_shown,
    job_list,
    numbers,
    reference,
    source_of,
    user,
)
from music_diffusion.studio.songs import usual_options
from music_diffusion.studio.studio import Found, Studio

NONE = "left out"
TITLES = {
    "level_3": "Level 3, the coarsest",
    "level_2": "Level 2",
    "level_1": "Level 1",
    "level_0": "Level 0, the finest",
    "dance": "Dance Diffusion, stereo",
}


@dataclass(frozen=True)
class SongTab:
    """What the page connects with other tabs, and the lists of models."""

    jobs: gr.HTML
    choices: list[Choice]


def build(studio: Studio) -> SongTab:
    """Add the tab to the page."""
    found = studio.found()
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            seconds = gr.Slider(1, 180, value=12, step=1, label="Seconds")
            count = gr.Slider(1, 4, value=1, step=1, label="Songs")
            seed = gr.Number(-1, precision=0, label="Seed (-1 draws one)")
            parts = {name: part(found, name) for name in PARTS}
            models = {name: model for name, (model, _) in parts.items()}
            sections = section_form(studio, list(models.values()))
            with gr.Accordion("Start from a file (init)", open=False):
                init = source_of("Initial audio of the song")
                strength = gr.Slider(0, 1, value=0.5, step=0.05, label="How much of it to keep")
            with gr.Accordion("Continue a file (context)", open=False):
                context = source_of("Context audio")
            noise = noise_form()
            start = gr.Button("Make the song", variant="primary")
        with gr.Column(scale=2, min_width=300):
            jobs = job_list(["song"])
    options = [given for _, given in parts.values()]

    @errors_shown(studio)
    def submit(request: gr.Request, *values):
        studio.make_song(settings(*values), user(request))

    inputs = [seconds, count, seed, init, strength, context]
    inputs += [*noise, sections, *models.values(), *options]
    start.click(submit, inputs, api_visibility="private")
    return SongTab(jobs, [Choice(model, names_of(name)) for name, model in models.items()])


def settings(
    seconds, count, seed, init, strength, context, style, step, dance, follow, sections, *parts
) -> dict:
    """Return what a song is asked for, of the form's values; the last are models, then options."""
    chosen = {name: model for name, model in zip(PARTS, parts, strict=False) if model != NONE}
    options = zip(PARTS, parts[len(PARTS) :], strict=True)
    return {
        "models": chosen,
        "options": {name: filled(given) for name, given in options if name in chosen},
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
        "sections": [filled(one) for one in sections["sections"]],
    }


def names_of(part: str) -> Callable[[Found], list[str]]:
    """Return what lists the models of a part, after the choice to leave it out."""
    return lambda found: [NONE, *found.models_of(part)]


def part(found: Found, name: str) -> tuple[gr.Dropdown, gr.HTML]:
    """Add the choice of a part's model, and its options."""
    names = found.models_of(name)
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


def section_form(studio: Studio, models: list[gr.Dropdown]) -> gr.HTML:
    """Add the sections, which may say what the chosen models know; those keep what is typed."""

    def known(names: Iterable[str]) -> Conditions:
        found = [studio.facts(name).conditions for name in names if name != NONE]
        return reduce(Conditions.joined, found, Conditions())

    @errors_shown(studio)
    def look(shown: dict, *chosen: str) -> dict:
        return section_value(known(chosen), shown["sections"])

    value = section_value(known(model.value for model in models))
    with gr.Accordion("Sections", open=False):
        shown = component("sections", "studio.sections(element, props, watch);", value)
    gr.on(
        [model.change for model in models], look, [shown, *models], shown,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    return shown


def section_value(known: Conditions, sections: Sequence[dict] = ()) -> dict:
    """Return the value of the element of sections."""
    names = {"labels": known.labels, "tags": list(known.tags), "tempo": known.tempo}
    return {"known": names | {"keys": list(KEYS) if known.key else []}, "sections": list(sections)}


def filled(options: dict | None) -> dict:
    """Return what isn't left empty."""
    return {name: value for name, value in (options or {}).items() if value not in (None, "")}
