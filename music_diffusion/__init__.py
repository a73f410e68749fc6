"""Train and run music generators: what the command line does, as functions.

    import music_diffusion as md

    model = md.load("runs/mine/checkpoints/best.ckpt")
    audio = model.generate(seconds=10, seed=1)  # [B, C, T] at model.sample_rate

Mistakes in what is asked for raise `UserError`, whose message says what to do. Names are imported
when they are first used, so `import music_diffusion` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from music_diffusion.user_name import name_user

if TYPE_CHECKING:
    from foundation.audio_module import AudioModel
    from foundation.control import Control
    from foundation.errors import UserError
    from jbdiff.song_settings import Song
    from music_diffusion.api import decode, fit, generate
    from music_diffusion.checkpoints.export import export
    from music_diffusion.checkpoints.load import load_model as load
    from music_diffusion.commands.data import data
    from music_diffusion.commands.encode import encode
    from music_diffusion.commands.fad import fad
    from music_diffusion.commands.page import page
    from music_diffusion.commands.report import report
    from music_diffusion.commands.sample import make_song, sample
    from music_diffusion.commands.shown_errors import excepthook

__all__ = [
    "AudioModel",
    "Control",
    "Song",
    "UserError",
    "data",
    "decode",
    "encode",
    "excepthook",
    "export",
    "fad",
    "fit",
    "generate",
    "load",
    "make_song",
    "page",
    "report",
    "sample",
]
HOMES = {
    "AudioModel": "foundation.audio_module",
    "Control": "foundation.control",
    "UserError": "foundation.errors",
    "Song": "jbdiff.song_settings",
    "decode": "music_diffusion.api",
    "fit": "music_diffusion.api",
    "generate": "music_diffusion.api",
    "export": "music_diffusion.checkpoints.export",
    "load": "music_diffusion.checkpoints.load",
    "data": "music_diffusion.commands.data",
    "encode": "music_diffusion.commands.encode",
    "fad": "music_diffusion.commands.fad",
    "make_song": "music_diffusion.commands.sample",
    "page": "music_diffusion.commands.page",
    "report": "music_diffusion.commands.report",
    "sample": "music_diffusion.commands.sample",
    "excepthook": "music_diffusion.commands.shown_errors",
}

name_user()


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("music_diffusion.version").version()
    if name not in HOMES:
        raise AttributeError(f"module 'music_diffusion' has no attribute {name!r}")
    found = getattr(import_module(HOMES[name]), "load_model" if name == "load" else name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
