"""Processes that Lightning starts for the other devices: they end where the first one is killed."""

import os
import sys
import threading
import time

VARIABLE = "MUSIC_DIFFUSION_FIRST_PROCESS"  # its number, which the processes it starts inherit
GRACE = 10.0  # seconds in which they may end by themselves, with a reason of their own


def watch_first_process() -> None:
    """End this process, if it is one of those, some seconds after the first one is gone.

    Alone it would wait for the first one: half an hour at the start, without a limit where nothing
    is exchanged any more.
    """
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        os.environ[VARIABLE] = str(os.getpid())
    elif os.getppid() == (first := int(os.environ.get(VARIABLE, 0))):
        threading.Thread(target=leave_after, args=(first,), daemon=True).start()


def leave_after(first: int, grace: float = GRACE) -> None:
    """Wait until this process has another parent, and end it."""
    while os.getppid() == first:
        time.sleep(min(1.0, grace))
    time.sleep(grace)
    print("stopped: the first process of this training is gone", file=sys.stderr, flush=True)
    os._exit(1)
