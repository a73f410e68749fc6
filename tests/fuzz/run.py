"""Mutated files given to a reader, and what became of each."""

import contextlib
import io
import os
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foundation.errors import UserError
from tests.fuzz.mutations import mutate
from tests.fuzz.readers import Reader

SLOW = 2.0  # seconds of CPU for a file of a few kilobytes


@dataclass
class Outcome:
    """How many files were accepted and refused, and what came of the others, by seed."""

    counts: Counter[str] = field(default_factory=Counter)
    escapes: dict[str, str] = field(default_factory=dict)


def run(name: str, reader: Reader, folder: Path, count: int, seed: int = 0) -> Outcome:
    """Give a reader its valid file and `count` mutated ones; it reads in an empty folder."""
    outcome = Outcome()
    with working_folder(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = reader.make(folder)
        reader.read(path)
        original = path.read_bytes()
        for number in range(count):
            label = f"{name} {seed} {number}"
            path.write_bytes(mutate(original, label))
            started = time.process_time()
            try:
                with contextlib.redirect_stderr(io.StringIO()):
                    reader.read(path)
                kind = "accepted"
            except UserError:
                kind = "refused"
            except BaseException as error:
                kind = "escaped"
                place = traceback.extract_tb(error.__traceback__)[-1]
                said = f"{type(error).__name__}: {str(error)[:100]}"
                outcome.escapes[label] = f"{said} ({place.filename}:{place.lineno})"
            if time.process_time() - started > SLOW:
                kind = "slow"
                outcome.escapes[label] = f"{time.process_time() - started:.1f} s"
            outcome.counts[kind] += 1
        path.write_bytes(original)
        reader.read(path)  # nothing that was refused has spoiled anything
    return outcome


@contextlib.contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
