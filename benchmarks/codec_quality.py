"""Say what a codec keeps of music: python -m benchmarks.codec_quality FOLDER [--path FILE].

For each level, over segments spread through the folder: SNR; the multi-resolution spectral distance
(0 equal, 1 silence); the cosine of chroma frames, mean removed (chance is 0); the correlation of
onset strength; the perplexity of the codes.
"""

import argparse

import torch
from torch import Tensor

from audio import files as audio_files
from codec.jukebox import JukeboxCodec
from codec.vqvae_codebook import perplexity
from codec.vqvae_loss import RESOLUTIONS, magnitude, norm

RATE = 44100


def snr(output: Tensor, target: Tensor) -> float:
    """Signal over error in dB, of all segments [B, 1, T] together."""
    return float(10 * torch.log10(target.square().sum() / (output - target).square().sum()))


def spectral_convergence(output: Tensor, target: Tensor) -> float:
    ratios = [
        norm(magnitude(output, r) - magnitude(target, r))
        / norm(magnitude(target, r)).clamp(min=1e-3)
        for r in RESOLUTIONS
    ]
    return float(torch.stack(ratios).mean())


def chroma(samples: Tensor) -> Tensor:
    """Energy of the twelve pitch classes between 55 and 4186 Hz, mean removed: [B, 12, N]."""
    spectrum = magnitude(samples, (8192, 2048, 8192)).square()
    frequencies = torch.linspace(0, RATE / 2, spectrum.shape[1])
    inside = (frequencies > 55) & (frequencies < 4186)
    classes = (12 * torch.log2(frequencies[inside] / 440)).round().long() % 12
    folded = torch.zeros(len(spectrum), 12, spectrum.shape[2])
    folded.index_add_(1, classes, spectrum[:, inside])
    folded = folded.sqrt()
    return folded - folded.mean(1, keepdim=True)


def chroma_cosine(output: Tensor, target: Tensor) -> float:
    a, b = chroma(output), chroma(target)
    loud = b.norm(dim=1) > 0.01 * b.norm(dim=1).max()
    return float(torch.cosine_similarity(a, b, dim=1)[loud].mean())


def onset_correlation(output: Tensor, target: Tensor) -> float:
    """Correlation of the rise of the compressed spectrum from frame to frame."""

    def strength(samples: Tensor) -> Tensor:
        log = magnitude(samples, (1024, 512, 1024)).log1p()
        rise = log.diff(dim=-1).clamp(min=0).sum(1)
        return rise - rise.mean(-1, keepdim=True)

    return float(torch.cosine_similarity(strength(output), strength(target), dim=-1).mean())


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--path", help="weights of the codec; the embedded ones by default")
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 1, 0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    target = segments(args.folder, args.count, args.seconds)
    print(f"{len(target)} segments of {args.seconds:g} s from {args.folder}")
    print("level  SNR dB  spectral  chroma  onset  perplexity")
    for level in args.levels:
        codec = JukeboxCodec(level, args.path)
        tokens = torch.cat([codec.encode(segment[None]) for segment in target])
        output = torch.cat([codec.decode(row[None]) for row in tokens])[..., : target.shape[-1]]
        counts = torch.bincount(tokens.flatten(), minlength=codec.codebook_size).float()
        figures = [f(output, target) for f in (snr, spectral_convergence, chroma_cosine)]
        figures += [onset_correlation(output, target), float(perplexity(counts))]
        print("{:5d}  {:6.2f}  {:8.3f}  {:6.3f}  {:5.3f}  {:10.0f}".format(level, *figures))


if __name__ == "__main__":
    main()
