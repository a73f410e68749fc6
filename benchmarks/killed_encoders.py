"""Encoders that are killed, share the work or run twice at once: the same store, byte for byte?

python -m benchmarks.killed_encoders [--kills 20] [--tracks 24]

One encoder in peace makes the store that all others are compared with. Then: an encoder that is
killed (SIGKILL) `kills` times at random moments; four shards at once, each killed twice at random
moments; two encoders of everything at once. Encoders are forked, so that they start at once.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from audio import files as audio_files
from datamodules.encode import EncodingJob, TrackReader
from datamodules.share import Share
from foundation.codec import Codec

RATE = 8000


class Loudness(Codec):
    """Loudness in 256 steps; a piece takes some milliseconds, so that kills hit all stages."""

    sample_rate, hop, codebook_size = RATE, 8, 256
    piece = 20 * RATE

    @property
    def fingerprint(self) -> str:
        return "loudness"

    def reach(self, names: tuple[str, ...]) -> int:
        return self.hop

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        time.sleep(0.004)
        mono = torch.nn.functional.pad(audio.mean(1), (0, -audio.shape[-1] % self.hop))
        steps = mono.unflatten(-1, (-1, self.hop)).abs().mean(-1) * 255
        return steps.long().clamp(max=255)[:, None]

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        return (tokens.float() / 255).repeat_interleave(self.hop, -1)


def make_music(folder: Path, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(count):
        samples = torch.rand(1, RATE * (10 + 7 * number % 40), generator=generator)
        audio_files.write(folder / f"{number // 8}" / f"{number}.wav", samples, RATE)
    copy = folder / "copy.wav"
    copy.write_bytes((folder / "0" / "1.wav").read_bytes())


def encode(music: Path, out: Path, share: Share) -> None:
    torch.set_num_threads(1)
    codec = Loudness()
    job = EncodingJob.create(music, codec, out=out, share=share)
    with job.alone(".lock" if share.count == 1 else f".lock-{share}"):
        todo = job.todo()
        reader = TrackReader(todo, codec)
        for index in range(len(todo)):
            path, length = reader[index]
            job.encode(codec, Path(path), length)
        job.end_share(share)
        if share.count == 1:
            job.finish()
    if share.count > 1:
        with job.alone():
            job.finish()


def start(music: Path, out: Path, share: Share) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=encode, args=(music, out, share))
    process.start()
    return process


def kill_after(process: BaseProcess, seconds: float) -> bool:
    """Kill a process after some time; say whether it was still running."""
    process.join(seconds)
    running = process.is_alive()
    if running and process.pid:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return running


def digest(store: Path) -> str:
    """Hash the names and bytes of a store's files, locks aside."""
    sha = hashlib.sha256()
    for path in sorted(store.rglob("*")):
        if path.is_file() and ".lock" not in path.name:
            sha.update(f"{path.relative_to(store)} {path.stat().st_size}\n".encode())
            sha.update(path.read_bytes())
    return sha.hexdigest()[:16]


@dataclass
class Trial:
    """A folder for stores, and what the store must be that was made in peace in `duration` s."""

    root: Path
    expected: str
    duration: float

    def report(self, out: str, what: str) -> None:
        found = digest(self.root / out)
        same = "the same" if found == self.expected else "ANOTHER"
        print(f"{out:12s} {found}  {same}: {what}", flush=True)

    def start(self, out: str, share: Share) -> BaseProcess:
        return start(self.root / "music", self.root / out, share)

    def kill_one(self, kills: int, draw: random.Random) -> None:
        """Kill an encoder at random moments; where it got done before, it begins a new store."""
        hits = starts = 0
        while hits < kills and starts < 10 * kills:
            process = self.start("killed", Share())
            hits += kill_after(process, draw.uniform(0, self.duration / 3))
            starts += 1
            if not process.exitcode:
                self.report("killed", f"{hits} kills so far")
                (self.root / "killed").rename(self.root / f"killed {starts}")
        self.start("killed", Share()).join()
        self.report("killed", f"{hits} kills in {starts} starts")

    def kill_shards(self, draw: random.Random) -> None:
        hits = 0
        for limit in (self.duration / 8, self.duration / 8, None):
            running = [self.start("four shards", Share(index, 4)) for index in range(4)]
            for process in running:
                process.join() if limit is None else None
                hits += limit is not None and kill_after(process, draw.uniform(0, limit))
        self.report("four shards", f"{hits} kills")

    def run_two(self) -> None:
        running = [self.start("two at once", Share()) for _ in range(2)]
        for process in running:
            process.join()
        self.report("two at once", f"exit codes {[process.exitcode for process in running]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=24)
    args = parser.parse_args()
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_music(root / "music", args.tracks)
        begin = time.monotonic()
        start(root / "music", root / "in peace", Share()).join()
        trial = Trial(root, digest(root / "in peace"), time.monotonic() - begin)
        trial.report("in peace", f"{args.tracks + 1} tracks in {trial.duration:.1f} s")
        trial.kill_one(args.kills, draw)
        trial.kill_shards(draw)
        trial.run_two()


if __name__ == "__main__":
    main()
