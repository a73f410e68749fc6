"""`studio`: hear, make, compare and repair music in a browser."""

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from foundation.checks import check_at_least
from foundation.errors import UserError
from foundation.files import output_folder
from music_diffusion.checkpoints.load import device_of
from music_diffusion.commands.options import call

HERE = "127.0.0.1"

log = logging.getLogger(__name__)


def studio(
    folders: list[str] | None = None,
    out: str = "studio",
    host: str = HERE,
    port: int = 7860,
    auth: str | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    max_upload: float = 100.0,
    max_seconds: float = 600.0,
) -> None:
    """Serve the studio until Ctrl-C: open http://127.0.0.1:7860 in a browser.

    Args:
        folders: with runs, exports and music; nothing else on this machine can be read or is named.
            The default is `runs` and `samples`, where they are there
        out: the folder that gets what is made, uploads and votes
        host: the address to listen at; any but 127.0.0.1 lets other machines in and needs auth
        port: to listen at
        auth: a file with a line NAME:PASSWORD for each user, or one NAME:PASSWORD
        accelerator: auto, cpu, gpu, …
        devices: how many of them work, each on a job of its own
        max_upload: megabytes that an uploaded file may have
        max_seconds: that its sound may last

    Raises:
        UserError: for folders that aren't there, and for a host without auth
    """
    check_at_least(1, devices=devices)
    uvicorn = import_ui()
    from music_diffusion.studio.guard import Guard, read_users
    from music_diffusion.studio.studio import Studio

    users = read_users(auth, host)
    usual = [name for name in ("runs", "samples") if Path(name).is_dir()]
    own = output_folder(out)
    made = Studio.of(
        own, usual if folders is None else folders, workers(accelerator, devices),
        max_upload, max_seconds,
    )  # fmt: skip
    from music_diffusion.studio.page import mount
    from music_diffusion.studio.server import server

    app = Guard(mount(server(made), made), users, round(max_upload * 2**20) + 2**20)
    log.info("the studio is at http://%s:%d", HERE if host == "0.0.0.0" else host, port)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


def import_ui() -> ModuleType:
    """Import what the extra `ui` installs; UserError where it isn't."""
    try:
        import_module("gradio")
        return import_module("uvicorn")
    except ImportError as error:
        raise UserError(
            "the studio needs gradio: pip install 'music-diffusion[ui]', or pip install -r "
            "requirements-ui.txt in the repository"
        ) from error


def workers(accelerator: str, devices: int) -> list[torch.device]:
    """Return so many devices of an accelerator."""
    first = device_of(accelerator)
    if devices > 1 and first.type == "cpu":
        raise UserError("a CPU is one device: leave out --devices")
    there = torch.accelerator.device_count() if first.type != "cpu" else 1
    if devices > there:
        raise UserError(f"there are {there} devices, --devices asks for {devices}")
    return [first] if devices == 1 else [torch.device(first.type, i) for i in range(devices)]


def run(args: list[str]) -> None:
    call("studio", studio, args)
