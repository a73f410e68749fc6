"""`page`: a page to listen to a folder of audio or to compare folders, from Python or the shell."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from audio.page.write import write_comparison, write_page
from foundation.errors import UserError
from music_diffusion.commands.options import call

OUT = "compare"


def page(
    folders: Sequence[str | Path] | str | Path, out: str | None = None, copy: bool = False
) -> Path:
    """Write a page to listen in a browser, without a server, and return its path.

    Of one folder, index.html in it: all its audio with waveforms and spectrograms, and of a run
    its demos over the steps, its curves and settings. Of several, folders are columns, and files
    of the same name share a row.

    Args:
        folders: runs, samples, songs, or any folders of audio
        out: where the page of several folders is written; the default is the folder compare
        copy: put copies of the audio of several folders beside the page, to give it away

    Raises:
        MissingFileError: for a folder that isn't there
        UserError: for several folders without a common file, and for options that don't fit
    """
    if isinstance(folders, (str, Path)):
        folders = [folders]
    if len(folders) > 1:
        return write_comparison(folders, OUT if out is None else out, copy)
    if out is not None or copy:
        raise UserError(
            "--out and --copy are for several folders: the page of one lies in it, beside the "
            "audio, and the folder can be given away as it is"
        )
    return write_page(folders[0])


def add_options(parser: ArgumentParser) -> None:
    """Add `page`'s arguments: any number of folders, and its options."""
    parser.add_argument("folders", nargs="+", help="runs, samples, songs, or any folders of audio")
    parser.add_function_arguments(page, skip={"folders"})


def run(args: list[str]) -> None:
    print(f"open {call('page', page, args, add_options)} in a browser")
