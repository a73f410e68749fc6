"""Data: what a folder of music holds, and how to train on it on this machine."""

# pyright: reportMissingImports=false
import gradio as gr

from music_diffusion.commands.data import data
from music_diffusion.commands.machine import this_machine
from music_diffusion.commands.report_lines import about, advice
from music_diffusion.studio.choices import Choice
from music_diffusion.studio.clips import without_paths
from music_diffusion.studio.library import OWN
from music_diffusion.studio.studio import Found, Studio


def build(studio: Studio) -> Choice:
    """Add the tab to the page; return the choice of the folder."""
    roots = [name for name in studio.library.roots if name != OWN]

    def names(found: Found) -> list[str]:
        return sorted({*roots, *(folder for folder in found.folders if outside(folder))})

    folders = names(studio.found())
    folder = gr.Dropdown(folders, value=folders[0] if folders else None, label="Folder of music")
    listen = gr.Checkbox(True, label="Listen to the files: loudness, clipping, silence, duplicates")
    start = gr.Button("Report", variant="primary")
    shown = gr.Textbox(label="Report", lines=16, max_lines=60, elem_classes=["report"])

    def report(folder: str, listen: bool) -> str:
        try:
            found = data(str(studio.library.find(folder or "")), headers_only=not listen)
        except Exception as error:  # it stays in the box, where a message would go away
            return f"No report: {studio.say(error)}"
        lines = [*about(found), "", *advice(found, this_machine())]
        return without_paths("\n".join(lines), studio.library)

    running = start.click(
        report, [folder, listen], shown, api_visibility="private", concurrency_limit=1
    )
    folder.change(
        lambda: "", None, shown, cancels=running, show_progress="hidden", api_visibility="private"
    )
    return Choice(folder, names)


def outside(folder: str) -> bool:
    return folder.partition("/")[0] != OWN
