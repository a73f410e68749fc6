"""The studio without its page: what the browser, the HTTP API and tests call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from music_diffusion.studio.clips import Clips, without_paths
from music_diffusion.studio.jobs import Job, Jobs, message_of
from music_diffusion.studio.library import Library
from music_diffusion.studio.making import ClipRequest, as_json, varied, work_of
from music_diffusion.studio.models import Facts, Models, facts_of
from music_diffusion.studio.uploads import Uploads


@dataclass(frozen=True)
class Studio:
    """Folders, uploads, models and jobs of one server."""

    library: Library
    uploads: Uploads
    jobs: Jobs
    models: Models
    clips: Clips

    @classmethod
    def of(
        cls,
        own: Path,
        folders: Sequence[str | Path],
        devices: Sequence[torch.device],
        megabytes: float = 100.0,
        seconds: float = 600.0,
    ) -> "Studio":
        """Make a studio that writes to its own folder and reads from others."""
        own.mkdir(parents=True, exist_ok=True)
        library = Library.of(own, folders)
        uploads = Uploads(library, megabytes, seconds)
        return cls(library, uploads, Jobs(own, devices), Models(), Clips(library))

    def facts(self, model: str) -> Facts:
        """Return what is known of a model; UserError if it is none."""
        return facts_of(self.library.model(model))

    def make(self, settings: Mapping, user: str = "") -> Job:
        """Queue a job of clips; UserError for settings that don't fit."""
        return self.submit(ClipRequest.of(settings), user)

    def submit(self, request: ClipRequest, user: str = "") -> Job:
        work = work_of(request, self.library, self.models)
        return self.jobs.submit(request.kind, as_json(request), work, user)

    def again(self, name: str, user: str = "") -> Job:
        """Queue a job like one that was, with other seeds."""
        return self.submit(ClipRequest.of(self.jobs.find(name).settings).again(), user)

    def vary(self, name: str, clip: str, user: str = "") -> Job:
        """Queue variations of a clip that a job made."""
        request = ClipRequest.of(self.jobs.find(name).settings)
        found = self.clips.describe(clip)
        seconds = found["seconds"] if found else 0.0
        return self.submit(
            varied(request, clip, seconds, self.facts(request.model).takes_init), user
        )

    def say(self, error: Exception) -> str:
        """Return what a browser may read of an error."""
        return without_paths(message_of(error), self.library)
