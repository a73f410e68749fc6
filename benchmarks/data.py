"""Reading and encoding, side by side: python -m benchmarks.data FILE.

A segment read by seeking against decoding the whole file for it, and the codec's speed in multiples
of real time, in CPU time.
"""

import argparse
import resource
import time

import torch

from audio import files as audio_files
from codec.jukebox import JukeboxCodec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a segment")
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--encode", type=float, default=20.0, help="seconds to encode")
    args = parser.parse_args()
    info = audio_files.probe(args.file)
    length = round(args.seconds * info.sample_rate)
    by_seeking = by_decoding = 0.0
    for i in range(args.segments):
        start = (info.num_samples - length) * i // args.segments
        begin = time.process_time()
        segment = audio_files.read(args.file, start, length)
        middle = time.process_time()
        whole = audio_files.read(args.file)[:, start : start + length]
        by_seeking += middle - begin
        by_decoding += time.process_time() - middle
        assert torch.equal(segment, whole)
    total = info.num_samples / info.sample_rate
    print(f"{info.path.name}: {total:.0f} s; segment of {args.seconds} s")
    print(f"  by seeking     {1000 * by_seeking / args.segments:8.2f} ms")
    print(f"  whole file     {1000 * by_decoding / args.segments:8.2f} ms")
    print(f"  ratio          {by_decoding / by_seeking:8.1f}")
    for level in (2, 1, 0):
        codec = JukeboxCodec(level)
        seconds = min(args.encode, total) / (1 if level else 4)
        samples = audio_files.read(args.file, 0, round(seconds * 44100), 44100, 1)[None]
        begin = time.process_time()
        tokens = codec.encode(samples)
        middle = time.process_time()
        codec.decode(tokens)
        end = time.process_time()
        encode, decode = seconds / (middle - begin), seconds / (end - middle)
        print(f"level {level}: encode {encode:6.1f} x real time, decode {decode:6.1f} x")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
