"""Processes that run the command line, forked from one that has imported it for all of them."""

import os
import socket
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def run_ranks(args: list[str], folder: Path, count: int = 2, timeout: float = 900) -> list[int]:
    """Run a command in as many processes as devices; return their statuses.

    Each writes what it prints to `folder/rank_N.log`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [CONTEXT.Process(target=rank, args=(args, n, port, folder)) for n in range(count)]
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


def rank(args: list[str], number: int, port: str, folder: Path) -> None:
    """Be one of these processes."""
    os.environ |= {"LOCAL_RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    print_to(folder / f"rank_{number}.log")
    sys.argv = ["cli.py"]
    from music_diffusion.commands.main import main

    sys.exit(main(args))
