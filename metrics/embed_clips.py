"""Clips of one length to vectors, on all cores."""

import torch
from torch import Tensor

from foundation.errors import UserError
from metrics.embed_files import map_ahead, single_threaded
from metrics.embedding import Embedding
from metrics.musicality import RATE

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
        other = "" if embedding.name == "logmel" else ", or --embedding logmel"
        raise UserError(
            f"clips of {clips.shape[1] / RATE:.2f} s are too short for {embedding.name}, which "
            f"needs {seconds:.2f} s: give longer clips{other}"
        )
    return vectors.view(len(clips), -1, vectors.shape[-1])
