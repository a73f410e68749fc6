"""The studio's functions by HTTP, as gradio_client calls them; `examples/studio_client.py` does."""

# pyright: reportMissingImports=false
import gradio as gr

from music_diffusion.studio.clips import describe_job
from music_diffusion.studio.forms import errors_shown, user
from music_diffusion.studio.jobs import Job
from music_diffusion.studio.studio import Studio


def add(studio: Studio) -> None:
    """Add the functions to the page that is being built."""
    shown = errors_shown(studio)

    @shown
    def models() -> list:
        return studio.library.models()

    @shown
    def make(settings: dict, request: gr.Request) -> dict:
        return described(studio.make(settings, user(request)))

    @shown
    def song(settings: dict, request: gr.Request) -> dict:
        return described(studio.make_song(settings, user(request)))

    @shown
    def job(name: str) -> dict:
        return described(studio.jobs.find(name))

    @shown
    def cancel(name: str) -> dict:
        studio.jobs.cancel(name)
        return described(studio.jobs.find(name))

    def described(job: Job) -> dict:
        return describe_job(job, studio.jobs, studio.clips)

    for function in (models, make, song, job, cancel):
        gr.api(function, api_name=function.__name__)
