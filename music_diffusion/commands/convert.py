"""convert: a token store of an earlier version to the present form."""

import logging
from pathlib import Path

from datamodules import old_store
from foundation.errors import MissingFileError
from foundation.files import user_path
from music_diffusion.commands.options import call

log = logging.getLogger(__name__)


def run(args: list[str]) -> None:
    call("convert", convert, args)


def convert(store: str) -> Path:
    """Convert a token store of an earlier version in its place and return its folder.

    Nothing is encoded. It can be interrupted and run again. A store of the present form stays as
    it is.

    Args:
        store: the token store's folder

    Raises:
        UserError: where there is no store, or no track of it is whole
    """
    folder = user_path(store, "store")
    if not (folder / "header.json").is_file():
        raise MissingFileError(f"{folder} is no token store (it has no header.json)")
    log.info("%d tracks in %s", len(old_store.convert(folder)), folder)
    return folder
