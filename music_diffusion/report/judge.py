"""All measures of generated clips, beside those of real music that they weren't compared with."""

from dataclasses import asdict

import torch

from metrics.distances import distances
from metrics.embed_clips import embed_clips
from metrics.embedding import Embedding
from metrics.traits import compare_trait, pitch_class_divergence, pitch_class_shares, traits
from music_diffusion.report.clips import Clips


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
