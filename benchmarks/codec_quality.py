"""Say what codecs keep of music: python -m benchmarks.codec_quality FOLDER [--seconds 6].

Rows are the levels of the VQ-VAE, and the spectral codec's latents and first 1, 2, 4, 8 codebooks.
Over segments spread through the folder, the same for all rows: bits a second; the multi-resolution
spectral distance (0 equal, 1 silence); the cosine of chroma frames, mean removed (chance is 0); the
correlation of onset strength; the Frechet distance of musicnn's vectors to the segments' own; the
codes' perplexity, mean of the codebooks; how many times faster than the music they encode and
decode, on one thread.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audio import files as audio_files
from audio.similarity import chroma_cosine, onset_correlation
from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from codec.vqvae_codebook import perplexity
from codec.vqvae_loss import RESOLUTIONS, magnitude, norm
from foundation.codec import Codec
from metrics.embedding import Embedding, MissingWeights
from metrics.frechet import Gaussian, frechet
from metrics.musicnn import Musicnn

RATE = 44100
CODEBOOKS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    """A way through a codec: audio [1, 1, T] to tokens or latents, and those to audio."""

    name: str
    codec: Codec
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    quantised: bool = True

    @property
    def bits_per_second(self) -> float:
        positions = self.codec.sample_rate / self.codec.hop
        return positions * self.codec.num_codebooks * math.log2(self.codec.codebook_size)


def rows(levels: list[int], vqvae: str | None, spectral: str | None) -> Iterator[Row]:
    for level in levels:
        codec = JukeboxCodec(level, vqvae)
        yield Row(f"VQ-VAE level {level}", codec, codec.encode, codec.decode)
    codec = SpectralCodec(spectral)
    yield Row("spectral latents", codec, codec.to_latents, codec.from_latents, quantised=False)
    for count in CODEBOOKS:
        codec = SpectralCodec(spectral, num_codebooks=count)
        yield Row(f"spectral {count}", codec, codec.encode, codec.decode)


def spectral_convergence(output: Tensor, target: Tensor) -> float:
    ratios = [
        norm(magnitude(output, r) - magnitude(target, r))
        / norm(magnitude(target, r)).clamp(min=1e-3)
        for r in RESOLUTIONS
    ]
    return float(torch.stack(ratios).mean())


def segments(folder: str, count: int, seconds: float) -> Tensor:
    """Take segments [B, 1, T] from the middles of as many equal parts of the folder's files."""
    files = audio_files.find(folder)
    taken = []
    for i in range(count):
        info = audio_files.probe(files[i % len(files)])
        length = round(seconds * RATE)
        total = info.num_samples_at(RATE)
        part = (i // len(files) + 0.5) / (-(-count // len(files)))
        start = max(0, min(total - length, int(part * total)))
        segment = audio_files.read(info.path, start, length, RATE, 1)
        if segment.shape[-1] == length and segment.square().mean() > 1e-6:
            taken.append(segment)
    return torch.stack(taken)


def measure(row: Row, target: Tensor, embedding: Embedding | None) -> list[str]:
    """Put segments [B, 1, T] through a codec, one by one, and compare."""
    started = time.process_time()
    encoded = [row.encode(segment[None]) for segment in target]
    between = time.process_time()
    output = torch.cat([row.decode(code) for code in encoded])[..., : target.shape[-1]]
    ended = time.process_time()
    seconds = target.numel() / RATE
    fad = "-"
    if embedding is not None:
        vectors = [embedding(clips, RATE) for clips in (target, output)]
        fad = f"{frechet(Gaussian.of(vectors[0]), Gaussian.of(vectors[1])):.1f}"
    used = "-"
    if row.quantised:
        used = f"{mean_perplexity(torch.cat(encoded), row.codec.codebook_size):.0f}"
    return [
        row.name,
        f"{row.bits_per_second:.0f}" if row.quantised else "-",
        f"{spectral_convergence(output, target):.3f}",
        f"{chroma_cosine(output, target):.3f}",
        f"{onset_correlation(output, target):.3f}",
        fad,
        used,
        f"{seconds / max(1e-9, between - started):.0f}",
        f"{seconds / max(1e-9, ended - between):.0f}",
    ]


def mean_perplexity(tokens: Tensor, size: int) -> float:
    """Average the perplexity of the codebooks of tokens [B, K, L]."""
    counts = [torch.bincount(book.flatten(), minlength=size) for book in tokens.unbind(1)]
    return float(torch.stack([perplexity(count.float()) for count in counts]).mean())


def find_embedding() -> Embedding | None:
    try:
        return Musicnn()
    except MissingWeights as error:
        print(f"no FAD: {error}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--vqvae", help="weights of the VQ-VAE; the embedded ones by default")
    parser.add_argument("--spectral", help="weights of the spectral codec, likewise")
    parser.add_argument("--levels", type=int, nargs="*", default=[2, 1, 0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    target = segments(args.folder, args.count, args.seconds)
    embedding = find_embedding()
    print(f"{len(target)} segments of {args.seconds:g} s from {args.folder}")
    print("| codec | bit/s | spectral | chroma | onset | FAD | perplexity | encode x | decode x |")
    print("| --- " * 9 + "|")
    for row in rows(args.levels, args.vqvae, args.spectral):
        print("| " + " | ".join(measure(row, target, embedding)) + " |", flush=True)


if __name__ == "__main__":
    main()
