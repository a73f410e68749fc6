"""Token stores of many tracks, before and after: python -m benchmarks.store [--tracks N ...].

Synthetic tracks of 216 s, so that a million are 60,000 hours. Each figure is of a process of its
own: CPU seconds and wall seconds to open a store and divide it into training and validation, memory
(anonymous, and all that is resident, with pages of files that processes share), inodes, time to the
first batch, windows a second, and the start of an epoch. The store of version 1 is written and read
up to `--old` tracks; the shards of large stores are sparse files, which take no disk.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from datamodules.data_order import ResumableSampler
from datamodules.header import VERSION, Header
from datamodules.metadata import Sidecar
from datamodules.old_store import OldStore
from datamodules.store_index import Blob, Entry, StoreIndex
from datamodules.store_merge import plan
from datamodules.store_parts import hash_of
from datamodules.token_data import StoredTracks, TokenWindows
from datamodules.token_store import TokenStore, shard_path
from datamodules.tracks import Track, Tracks, split
from datamodules.windows import RandomWindows, Windows
from foundation.files import write_json
from foundation.windows import TokenWindow

HEADER = Header("benchmark", 44100, 128, 2048, ("tokens",))
LENGTH = 216 * 44100 // 128  # positions of a track
WINDOW = 8192
BATCH = 8


def name_of(number: int) -> str:
    return f"label {number // 1000}/album {number // 10}/track {number:07}.flac"


def make_store(folder: Path, count: int) -> None:
    """Write a store of tokens that are all 0."""
    names = map(name_of, range(count))
    ids = [hash_of([name.encode()]) for name in names]
    blobs = [Blob(each, each, LENGTH, "", 0) for each in sorted(ids)]
    placed = []
    for shard in plan(blobs, HEADER):
        path = shard_path(folder, shard.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(shard.size)
        placed += shard.blobs
    entries = [
        Entry(name_of(number), each[:10], each, {"folder": f"label {number // 1000}"})
        for number, each in enumerate(ids)
    ]
    StoreIndex.of(entries, placed).write(folder)
    write_json(folder / "header.json", {"version": VERSION, **asdict(HEADER)})


def make_old_store(folder: Path, count: int) -> None:
    """Write a store of version 1, of tokens that are all 0."""
    folder.mkdir()
    (folder / "header.json").write_text(json.dumps(asdict(HEADER)))
    for number in range(count):
        key = hash_of([name_of(number).encode()])[:10].hex()
        (place := folder / "tracks" / key).mkdir(parents=True)
        array = np.lib.format.open_memmap(
            place / "tokens.npy", "w+", HEADER.dtype("tokens"), (1, LENGTH)
        )
        del array  # sparse
        content = {"source": name_of(number), "length": LENGTH, "cond": {"folder": "label"}}
        (place / "track.json").write_text(json.dumps(content))


class OldWindows(Windows):
    """Windows of a store of version 1, read as that version did."""

    store: OldStore

    def cut(self, track: Track, start: int, draw: object = None) -> dict[str, torch.Tensor]:
        array = self.store.array(track.path.name, "tokens", LENGTH)
        values = torch.from_numpy(array[:, start : start + self.length].astype(np.int64))
        assert 0 <= values.min() <= values.max() < HEADER.codebook_size
        return {"tokens": values}


def open_old(folder: Path) -> Windows:
    """Open a store as version 1 did: each track's files are looked at."""
    store = OldStore(folder)
    found = [(key, store.track(key)) for key in store.keys()]
    for key, track in found:
        store.array(key, "tokens", track.length)
    tracks = [Track(Path(key), one.source, 0, one.length, one.cond) for key, one in found]
    windows = OldWindows(split(Tracks.of(tracks), 0.1)[0], WINDOW)
    windows.store = store
    return windows


def open_new(folder: Path) -> Windows:
    store = TokenStore.open(folder)
    tracks = Tracks.whole(StoredTracks(store, Sidecar()))
    window = TokenWindow(WINDOW)
    return TokenWindows(split(tracks, 0.1)[0], window, store, torch.empty(0, 0))


def old_order(count: int) -> list[tuple[int, int]]:
    """The order of an epoch as a table, as it was."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).tolist()
    return [(0, index) for index in order]


def new_order(count: int) -> list[tuple[int, int]]:
    return list(islice(ResumableSampler(count, batch_size=BATCH), BATCH))


def resident() -> tuple[float, float]:
    """Return a process's memory in MB: its own, and all that is resident, also pages of files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return tuple(int(found[key].split()[0]) / 1000 for key in ("RssAnon", "VmRSS"))  # type: ignore


def measure(
    folder: Path,
    opened: Callable[[Path], Windows],
    order: Callable[[int], list[tuple[int, int]]],
    seconds: float,
) -> dict[str, float]:
    """Open a store, load a batch, and read windows for some CPU seconds."""
    before, wall, begin = resident(), time.monotonic(), time.process_time()
    windows = opened(folder)
    taken, waited = time.process_time() - begin, time.monotonic() - wall
    after = resident()
    dataset = RandomWindows(windows, None, 0)
    begin = time.process_time()
    keys = order(len(windows))[:BATCH]
    start = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024 / 1000 - before[1]
    for key in keys:
        dataset[key]
    first = time.process_time() - begin
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds:
        dataset[0, count * 7919 % len(windows)]
        count += 1
    return {
        "open s": taken,
        "open wall s": waited,
        "own MB": after[0] - before[0],
        "resident MB": after[1] - before[1],
        "peak MB": peak,
        "epoch start s": start,
        "first batch s": first,
        "windows/s": count / (time.process_time() - begin),
    }


def apart(*args: object) -> dict[str, float]:
    """Measure in a process that begins at its own size."""
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        return pool.apply(measure, args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--old", type=int, default=10_000, help="most tracks of the old form")
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds to read windows")
    args = parser.parse_args()
    forms = {
        "before": (make_old_store, open_old, old_order),
        "now": (make_store, open_new, new_order),
    }
    for form, (make, opened, order) in forms.items():
        figures = {}
        for count in sorted({min(n, args.old) if form == "before" else n for n in args.tracks}):
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "store"
                make(place, count)
                inodes = sum(1 for _ in place.rglob("*"))
                figures[count] = {**apart(place, opened, order, args.seconds), "inodes": inodes}
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures[count].items())
            print(f"{form:6s} {count:8d} tracks  {shown}", flush=True)
        first, last = min(figures), max(figures)
        for key in ("open s", "own MB", "peak MB", "inodes", "epoch start s"):
            slope = (figures[last][key] - figures[first][key]) / max(1, last - first)
            print(f"{form:6s} {key} for each million tracks more: {slope * 1e6:.4g}", flush=True)


if __name__ == "__main__":
    main()
