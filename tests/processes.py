"""Processes that run the command line, forked from one that has imported it for all of them."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


@contextmanager
def meeting_place() -> Iterator[dict[str, str]]:
    """Keep a port for processes to meet at; yield the variables that tell them of it.

    A port that was found free and closed again, as Lightning does it, is given to any program that
    asks within the seconds until the first process listens. One that stays bound is given to none,
    and those that share it (SO_REUSEADDR, as torch does) can listen there.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("", 0))
        yield {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(held.getsockname()[1])}


def run_ranks(args: list[str], folder: Path, count: int = 2, timeout: float = 900) -> list[int]:
    """Run a command in as many processes as devices; return their statuses.

    Each writes what it prints to `folder/rank_N.log`.
    """
    with meeting_place() as place:
        ranks = [CONTEXT.Process(target=rank, args=(args, n, place, folder)) for n in range(count)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(timeout)
            process.kill()
            process.join()
    return [process.exitcode or 0 for process in ranks]


def run_commands(runs: Sequence[list[str]], folder: Path, log: Path) -> int:
    """Run commands one after another in a process of their own, in a folder; return the status."""
    process = CONTEXT.Process(target=in_turn, args=(runs, folder, log))
    process.start()
    process.join()
    return process.exitcode or 0


def in_turn(runs: Sequence[list[str]], folder: Path, log: Path) -> None:
    """Be that process."""
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    print_to(log)
    from music_diffusion.commands.main import main

    for args in runs:
        print("$", *args, flush=True)
        sys.argv = ["cli.py", *args]
        if status := main(args):
            sys.exit(status)


def print_to(log: Path) -> None:
    """Let this process and those that it starts print to the end of a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)


def rank(args: list[str], number: int, place: dict[str, str], folder: Path) -> None:
    """Be one of these processes."""
    os.environ |= {"LOCAL_RANK": str(number)} | place
    print_to(folder / f"rank_{number}.log")
    sys.argv = ["cli.py"]
    from music_diffusion.commands.main import main

    sys.exit(main(args))
