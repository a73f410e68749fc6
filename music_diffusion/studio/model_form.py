"""The part of a form that says which model makes clips, and how."""

# pyright: reportMissingImports=false
from dataclasses import dataclass

import gradio as gr

from music_diffusion.studio.forms import errors_shown, numbers
from music_diffusion.studio.models import Facts
from music_diffusion.studio.studio import Studio

GUIDANCE = "guidance"


@dataclass(frozen=True)
class ModelForm:
    """A model, its sampler, and the sampler's options with the model's guidance."""

    model: gr.Dropdown
    sampler: gr.Dropdown
    options: gr.HTML
    count: gr.Slider
    seed: gr.Number

    @classmethod
    def build(
        cls, studio: Studio, count: int, seconds: gr.Slider | None = None, clips: str = "Clips"
    ) -> "ModelForm":
        """Add it to the page, with a slider of seconds in it where one is given.

        `clips` is what the page calls the clips that are made.
        """
        names = studio.library.models()
        model = gr.Dropdown(names, value=names[0], label="Model", filterable=len(names) > 8)
        if seconds is not None:
            seconds.render()
        number = gr.Slider(1, 16, value=count, step=1, label=clips)
        seed = gr.Number(-1, precision=0, label="Seed (-1 draws one)")
        facts = studio.facts(names[0])
        with gr.Accordion("Sampler", open=False):
            sampler = gr.Dropdown(list(facts.samplers), value=facts.sampler, label="Sampler")
            options = numbers(options_of(facts, facts.sampler))
        form = cls(model, sampler, options, number, seed)
        form._follow(studio)
        return form

    def _follow(self, studio: Studio) -> None:
        """Show the samplers of the model that is chosen, and the options of the sampler."""

        @errors_shown(studio)
        def choose(model: str):
            facts = studio.facts(model)
            names = gr.update(choices=list(facts.samplers), value=facts.sampler)
            return names, options_of(facts, facts.sampler)

        @errors_shown(studio)
        def show(model: str, sampler: str):
            return options_of(studio.facts(model), sampler)

        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        self.model.change(choose, self.model, [self.sampler, self.options], **quiet)
        self.sampler.input(show, [self.model, self.sampler], self.options, **quiet)

    @property
    def inputs(self) -> list:
        return [self.model, self.sampler, self.options, self.count, self.seed]

    @staticmethod
    def settings(model, sampler, options, count, seed) -> dict:
        """Return what a job is asked for, of the values of `inputs`."""
        given = {name: value for name, value in (options or {}).items() if value is not None}
        return {
            "model": model,
            "sampler": sampler or "",
            "guidance": given.pop(GUIDANCE, None),
            "options": given,
            "count": int(count),
            "seed": int(-1 if seed is None else seed),
        }


def options_of(facts: Facts, sampler: str) -> dict[str, float | None]:
    """Return a sampler's options with their values, and an empty guidance where there is one."""
    options: dict[str, float | None] = dict(facts.samplers.get(sampler, {}))
    return options | {GUIDANCE: None} if facts.guided else options
