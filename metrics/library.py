"""CLAP and EnCodec embeddings of frechet_audio_distance, where the extra `fad` is installed."""

from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError
from foundation.files import user_path
from metrics.embedding import Embedding

CLIP_SECONDS = 10
MODELS = {"clap": (48000, 512), "encodec": (24000, 128)}  # sample rate, numbers in a vector


class LibraryEmbedding(Embedding):
    """Vectors of that library's own models, for each 10 s or for a shorter clip.

    Args:
        model: clap or encodec
        path: the folder the library downloads its weights to; the default is its own
    """

    def __init__(self, model: Literal["clap", "encodec"], path: str | Path | None = None):
        super().__init__()
        try:
            from frechet_audio_distance import (  # pyright: ignore[reportMissingImports]
                FrechetAudioDistance,
            )
        except ImportError as error:
            command = "pip install frechet_audio_distance (the extra `fad`)"
            raise UserError(f"the embedding {model} needs {command}: {error}") from error
        self.name = model
        self.sample_rate, self.dim = MODELS[model]
        self.shortest = self.sample_rate
        self.clip = self.stride = CLIP_SECONDS * self.sample_rate
        release = version("frechet_audio_distance")
        self.front_end = f"frechet_audio_distance {release}, clips of {CLIP_SECONDS} s"
        folder = None if path is None else str(user_path(path, "path"))
        self.library = FrechetAudioDistance(folder, model, sample_rate=self.sample_rate)
        self.model = self.library.model  # registered, so that its weights are in the fingerprint

    def examples(self, audio: Tensor) -> Tensor:
        """Cut audio [B, T] to clips [B, W, T']."""
        if audio.shape[-1] > self.clip:
            return audio.unfold(-1, self.clip, self.clip)
        return audio[:, None]

    def embed(self, examples: Tensor) -> Tensor:
        """Embed clips [N, T] to vectors [N * k, D]; EnCodec has a vector for each of its frames."""
        self.library.device = examples.device
        clips = list(examples.cpu().numpy())
        vectors = np.asarray(self.library.get_embeddings(clips, sr=self.sample_rate))
        if len(vectors) % len(clips) or vectors.shape[1:] != (self.dim,):
            raise ValueError(
                f"{self.name} returned vectors {list(vectors.shape)} for {len(clips)} clips, "
                f"expected {self.dim} numbers each"
            )
        return torch.from_numpy(vectors).float().to(examples.device)
