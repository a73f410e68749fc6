"""What the tabs share: components of studio.js, errors as messages, the user of a request."""

# pyright: reportMissingImports=false
import json
from collections.abc import Callable, Mapping
from functools import wraps

import gradio as gr

from foundation.errors import UserError
from music_diffusion.studio.guard import USER
from music_diffusion.studio.studio import Studio

HEAD = (  # once the style is there, gradio measures again which tabs fit beside each other
    '<link rel="stylesheet" href="studio/studio.css" onload="dispatchEvent(new Event(\'resize\'))">'
    '<script src="studio/studio.js"></script>'
)


def job_list(kinds: list[str]) -> gr.HTML:
    """Show the jobs of some kinds; the event `act` says which of their buttons was pressed."""
    return component("jobs", f"studio.jobs(element, trigger, {kinds}); // 'act'")


def source_of(title: str, region: bool = False) -> gr.HTML:
    """Take a music file: sent, recorded or from a job. Its value is {clip, start, stop}, or None.

    With `region` a part of it can be chosen, from start to stop in seconds; None until it is.
    """
    script = f"studio.source(element, props, trigger, watch, {json.dumps(title)}, {int(region)});"
    return component("source", script)


def numbers(value: Mapping[str, float | None]) -> gr.HTML:
    """Show numbers by name, such as a sampler's options; None is an empty one."""
    return component("options", "studio.options(element, props, watch);", dict(value))


def component(kind: str, script: str, value: object = None) -> gr.HTML:
    """Return an element that studio.js fills. Subclasses of gradio's write files where they are."""
    return gr.HTML(
        value=value,
        html_template=f'<div class="{kind}"></div>',
        js_on_load=script,
        elem_classes=[f"studio-{kind}"],
        apply_default_css=False,
        head=HEAD,
    )


def errors_shown(studio: Studio) -> Callable:
    """Decorate a handler: a user's mistake becomes a message in the page."""

    def decorate(handler: Callable) -> Callable:
        @wraps(handler)
        def call(*args, **kwargs):
            try:
                return handler(*args, **kwargs)
            except Exception as error:
                raise gr.Error(studio.say(error), print_exception=False) from error

        return call

    return decorate


def chosen(studio: Studio, clip: str) -> dict:
    """Return a clip as the value of a source, of which no part is chosen yet."""
    found = studio.clips.describe(clip)
    if found is None:
        raise UserError("this clip can't be read")
    return {"clip": found, "start": None, "stop": None}


def reference(source: dict | None) -> str:
    """Return the reference of a source's clip; "" for none."""
    return source["clip"]["reference"] if source else ""


def user(request: gr.Request) -> str:
    """Return the name with which a request came, "" where there are no users."""
    return str(request.request.scope.get(USER, "")) if request and request.request else ""
