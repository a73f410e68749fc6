"""Lists of models, runs and folders in the page, which change while it is open."""

# pyright: reportMissingImports=false
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from music_diffusion.studio.studio import Found, Studio

EVERY = 10.0  # seconds from one look at the folders to the next


@dataclass(frozen=True)
class Choice:
    """A list in the page, and how it is made of what lies in the folders."""

    shown: gr.Dropdown
    names: Callable[[Found], list[str]]


def follow(studio: Studio, blocks: gr.Blocks, choices: Sequence[Choice]) -> None:
    """Look for what is new and what is gone: when the page is opened, and while it is open.

    What is chosen stays chosen, but for what is gone.
    """
    known = gr.State([])

    def look(before: list[list[str]], *chosen: str | None) -> list:
        found = studio.found()
        now = [choice.names(found) for choice in choices]
        old = before or [None] * len(now)
        return [now, *(update(*one) for one in zip(old, now, chosen, strict=True))]

    shown = [choice.shown for choice in choices]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    blocks.load(look, [known, *shown], [known, *shown], **quiet)
    gr.Timer(EVERY).tick(look, [known, *shown], [known, *shown], **quiet)


def update(before: list[str] | None, now: list[str], chosen: str | None):
    """Return what changes in a list; a choice that is gone is the first of what is there."""
    if now == before:
        return gr.skip()
    if chosen in now:
        return gr.update(choices=now)
    return gr.update(choices=now, value=now[0] if now else None)
