"""The studio's page, in gradio: a tab for each thing one can do."""

# pyright: reportMissingImports=false
import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from music_diffusion.studio import (  # noqa: E402
    compare_tab,
    data_tab,
    http_api,
    make_tab,
    repair_tab,
    runs_tab,
    song_tab,
)
from music_diffusion.studio.choices import Choice, follow  # noqa: E402
from music_diffusion.studio.forms import chosen, errors_shown, user  # noqa: E402
from music_diffusion.studio.studio import Studio  # noqa: E402

TITLE = "Music studio"
CALLS = 16  # of gradio at once; they only queue work
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
THEME = gr.themes.Default(
    primary_hue="indigo",
    font=FONTS,
    font_mono=("ui-monospace", "DejaVu Sans Mono", "monospace"),
).set(button_primary_background_fill="*primary_600")


def page(studio: Studio) -> gr.Blocks:
    """Return the page of a studio."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gr.Markdown(f"# {TITLE}")
        with gr.Tabs() as tabs:
            with gr.Tab("Make", id="make"):
                make = make_tab.build(studio)
            with gr.Tab("Repair", id="repair"):
                repair = repair_tab.build(studio)
            with gr.Tab("Song", id="song"):
                song = song_tab.build(studio)
            with gr.Tab("Compare", id="compare"):
                sides = compare_tab.build(studio)
            with gr.Tab("Runs", id="runs"):
                run = runs_tab.build(studio)
            with gr.Tab("Data", id="data"):
                folder = data_tab.build(studio)
        for jobs in (make.jobs, repair.jobs, song.jobs):
            connect(studio, jobs, make, repair, tabs)
        http_api.add(studio)
        models = [Choice(tab.model, lambda found: found.models) for tab in (make, repair)]
        follow(studio, blocks, [*models, *song.choices, *sides, run, folder])
    return blocks.queue(default_concurrency_limit=CALLS)


def connect(
    studio: Studio,
    jobs: gr.HTML,
    make: make_tab.MakeTab,
    repair: repair_tab.RepairTab,
    tabs: gr.Tabs,
) -> None:
    """Let the buttons of a list of jobs do what they say."""

    @errors_shown(studio)
    def act(event: gr.EventData, request: gr.Request):
        action, job, clip = event.action, event.job, getattr(event, "clip", "")
        if action == "cancel":
            studio.jobs.cancel(job)
        elif action == "again":
            studio.again(job, user(request))
        elif action == "vary":
            studio.vary(job, clip, user(request))
        elif action == "init":
            shown = chosen(studio, clip), gr.update(open=True), gr.skip(), gr.skip()
            return *shown, gr.update(selected="make")
        elif action == "continue":
            shown = gr.skip(), gr.skip(), chosen(studio, clip), repair_tab.CONTINUE
            return *shown, gr.update(selected="repair")
        return [gr.skip()] * len(outputs)

    outputs = [make.init, make.inits, repair.source, repair.what, tabs]
    jobs.act(act, None, outputs, show_progress="hidden", api_visibility="private")


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the page at a server's root; nothing of the disk is served by it."""
    return gr.mount_gradio_app(
        app,
        page(studio),
        path="/",
        theme=THEME,
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
    )
