"""python -m tests.fuzz --count 6000: that many mutated files, shared by all readers."""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.readers import READERS
from tests.fuzz.run import run


def main() -> int:
    """Print a line for each reader and each escape; return 1 if there was one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=6000, help="mutated files in all")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--reader", choices=READERS, help="only this one")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    chosen = {options.reader: READERS[options.reader]} if options.reader else READERS
    share, escaped, total = -(-options.count // len(chosen)), 0, 0
    for name, reader in chosen.items():
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            outcome = run(name, reader, Path(folder).resolve(), share, options.seed)
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(outcome.counts.items()))
        print(f"{name:20} {counts} ({time.process_time() - started:.1f} s)", flush=True)
        for label, said in outcome.escapes.items():
            print(f"    {label}: {said}")
        escaped, total = escaped + len(outcome.escapes), total + share
    print(f"{total} mutated files: {escaped} escaped")
    return int(escaped > 0)


sys.exit(main())
