"""WavTokenizer in pieces and as a whole: python -m benchmarks.wavtokenizer TRACK [WEIGHTS]."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from audio import files as audio_files
from codec.wavtokenizer import SAMPLE_RATE, WavTokenizer
from foundation.codec import mono
from tests.goldens.format import load
from tests.goldens.wavtokenizer import weights

DATA = Path(__file__).parent.parent / "tests" / "goldens_data"


def main(args: list[str] | None = None) -> None:
    """Run each way in a process of its own, for its peak memory; then compare what they made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("track")
    parser.add_argument("weights", nargs="?", help="default: the goldens' rule, at full size")
    parser.add_argument("--way", choices=["pieces", "whole"], help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.way:
        return measure(options.track, options.weights, options.way, Path(options.out))
    with tempfile.TemporaryDirectory() as folder:
        file = options.weights or f"{folder}/rule.ckpt"
        if not options.weights:
            case = load(DATA, "wavtokenizer").case("frame75")
            torch.save({"state_dict": weights(case)}, file)
        made = []
        for way in ("pieces", "whole"):
            out = f"{folder}/{way}.pt"
            command = [sys.executable, "-m", "benchmarks.wavtokenizer", options.track, file]
            subprocess.run([*command, "--way", way, "--out", out], check=True)
            made.append(torch.load(out))
        compare(*made)


def peak() -> float:
    """Peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.inference_mode()
def measure(track: str, path: str, way: str, out: Path) -> None:
    torch.set_num_threads(1)
    codec = WavTokenizer(path, 30.0 if way == "pieces" else None)
    samples = mono(audio_files.read(track, sample_rate=SAMPLE_RATE)[None])
    seconds, before = samples.shape[-1] / SAMPLE_RATE, peak()
    print(f"{way}: {seconds:.1f} s of audio, {before:.0f} MB before", flush=True)
    start = time.perf_counter()
    if way == "pieces":
        tokens = codec.encode(samples)
    else:  # what encode does, without pieces
        frames = codec.net.encoder(samples)
        tokens = codec.net.codebook.distances(frames).argmin(-1)[:, None]
    encoded, memory = time.perf_counter(), peak()
    print(
        f"{way}: encode {seconds / (encoded - start):.2f} x real time, {memory:.0f} MB", flush=True
    )
    # the rule's tokens hardly change over time: decode drawn ones
    drawn = torch.randint(4096, tokens.shape, generator=torch.Generator().manual_seed(0))
    decoding = time.perf_counter()
    result = {"tokens": tokens, "audio": codec.decode(drawn)}
    took = time.perf_counter() - decoding
    print(f"{way}: decode {seconds / took:.2f} x real time, {peak():.0f} MB", flush=True)
    torch.save(result, out)


def compare(pieces: dict[str, Tensor], whole: dict[str, Tensor]) -> None:
    same = (pieces["tokens"] == whole["tokens"]).float().mean()
    count = len(whole["tokens"].unique())
    print(f"tokens equal: {same:.4%} of {whole['tokens'].numel()} ({count} distinct)")
    error, level = pieces["audio"] - whole["audio"], whole["audio"].square().mean().sqrt()
    rms = error.square().mean().sqrt()
    print(
        f"decoded: largest difference {error.abs().max():.4f}, root mean square {rms:.5f}, "
        f"{20 * (level / rms).log10():.1f} dB below the audio"
    )
    second = error[..., : error.shape[-1] // SAMPLE_RATE * SAMPLE_RATE].unflatten(
        -1, (-1, SAMPLE_RATE)
    )
    spread = second.square().mean(-1).sqrt().flatten()
    print(
        f"by the second: {spread.min():.5f} to {spread.max():.5f}, "
        f"first minute {spread[:60].mean():.5f}, last minute {spread[-60:].mean():.5f}"
    )
    click = [audio["audio"].diff().abs().max() for audio in (pieces, whole)]
    print(f"largest step between samples: {click[0]:.4f} in pieces, {click[1]:.4f} in the whole")


if __name__ == "__main__":
    main()
