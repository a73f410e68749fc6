"""CLAP and EnCodec embeddings of frechet_audio_distance, where the extra `fad` is installed."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metrics.embedding import Embedding

CLIP_SECONDS = 10
DIMS = {"clap": 512, "encodec": 128}


class Library(Embedding):
    """Vectors of the library's own models, one clip of 10 s (or one shorter clip) after another.

    The library fetches its weights itself, into the folder `path` if one is given.
    """

    def __init__(self, model: str, sample_rate: int, path: str | Path | None = None):
        super().__init__()
        try:
            from frechet_audio_distance import FrechetAudioDistance
        except ImportError as error:
            command = "pip install -e '.[fad]' in this project's folder"
            raise ValueError(f"the embedding {model} needs {command} ({error})") from error
        self.name, self.sample_rate, self.dim = model, sample_rate, DIMS[model]
        self.shortest = sample_rate
        self.clip = CLIP_SECONDS * sample_rate
        release = version("frechet_audio_distance")
        self.front_end = f"frechet_audio_distance {release}, clips of {CLIP_SECONDS} s"
        folder = str(Path(path).expanduser()) if path else None
        self.library = FrechetAudioDistance(folder, model, sample_rate=sample_rate)
        self.model = self.library.model  # registered, so that its weights are in the fingerprint

    def examples(self, audio: Tensor) -> Tensor:
        """Clips [B, W, T]."""
        if audio.shape[-1] > self.clip:
            return audio.unfold(-1, self.clip, self.clip)
        return audio[:, None]

    def embed(self, examples: Tensor) -> Tensor:
        """Embed clips [N, T]; EnCodec gives a vector for each of its frames."""
        self.library.device = examples.device
        clips = list(examples.cpu().numpy())
        vectors = np.asarray(self.library.get_embeddings(clips, sr=self.sample_rate))
        if len(vectors) % len(clips) or vectors.shape[1:] != (self.dim,):
            raise ValueError(
                f"{self.name} gave vectors {list(vectors.shape)} for {len(clips)} clips, "
                f"expected {self.dim} numbers each"
            )
        return torch.from_numpy(vectors).float().to(examples.device)
