"""All measures of generated clips, beside those of real music that they weren't compared with."""

from dataclasses import asdict

import torch
from torch import Tensor

from foundation.errors import UserError
from metrics.distances import distances
from metrics.embed_files import map_ahead, single_threaded
from metrics.embedding import Embedding
from metrics.musicality import RATE
from metrics.traits import compare_trait, pitch_class_divergence, pitch_class_shares, traits
from music_diffusion.report.clips import Clips

BATCH = 8  # clips embedded at once by each core


def embed_clips(embedding: Embedding, clips: Tensor, device: torch.device) -> Tensor:
    """Embed clips [B, T] at RATE to vectors [B, W, D], each core a batch of its own.

    Raises:
        UserError: for clips too short for a vector
    """
    embedding.to(device)
    threads = torch.get_num_threads()
    try:
        with single_threaded(threads if device.type == "cpu" else 1) as pool:
            parts = clips[:, None].split(BATCH)
            made = map_ahead(pool, lambda part: embedding(part.to(device), RATE), parts, threads)
            vectors = torch.cat([part.cpu() for part in made])
    finally:
        torch.set_num_threads(threads)  # the pool's setting would hold for threads made later
    if not len(vectors):
        seconds = embedding.shortest / embedding.sample_rate
        raise UserError(
            f"clips of {clips.shape[1] / RATE:.2f} s are too short for {embedding.name}, which "
            f"needs {seconds:.2f} s: give longer clips, or --embedding logmel"
        )
    return vectors.view(len(clips), -1, vectors.shape[-1])


def judge_distances(
    embedding: Embedding, sets: dict[str, Clips], reference: Clips, device: torch.device
) -> dict[str, dict]:
    """Measure the distances (`metrics.distances`) of sets of clips to a reference, as dicts."""
    real = embed_clips(embedding, reference.audio, device).flatten(0, 1)
    found = {}
    for name, clips in sets.items():
        vectors = embed_clips(embedding, clips.audio, device)
        counts = [vectors.shape[1]] * len(vectors)
        found[name] = asdict(distances(real, vectors.flatten(0, 1), counts))
    return found


def judge_traits(clips: Clips, reference: Clips) -> dict[str, dict]:
    """Compare the traits of clips with those of a reference (`metrics.traits`), as dicts."""
    ours, real = traits(clips.audio), traits(reference.audio)
    found = {name: compare_trait(ours[name], real[name]) for name in ours}
    return {name: asdict(comparison) for name, comparison in found.items() if comparison}


def judge_pitch_classes(clips: Clips, reference: Clips) -> float:
    """Return how far the pitch classes of clips diverge from those of a reference, in bits."""
    ours, real = (pitch_class_shares(side.audio) for side in (clips, reference))
    return pitch_class_divergence(ours, real)
