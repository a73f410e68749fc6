"""The studio without its page: what the browser, the HTTP API and tests call."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.errors import UserError
from music_diffusion.studio import songs
from music_diffusion.studio.clips import Clips, without_paths
from music_diffusion.studio.jobs import Job, Jobs, message_of
from music_diffusion.studio.library import Library
from music_diffusion.studio.listening import CLIPS, Listening
from music_diffusion.studio.making import ClipRequest, as_json, varied, work_of
from music_diffusion.studio.models import Facts, Models, facts_of
from music_diffusion.studio.songs import SongRequest
from music_diffusion.studio.uploads import Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What lies in a studio's folders.

    Attributes:
        models: the base models first
        parts: of a song, by model; "" for a model that is none
        runs: the newest first
        folders: with audio
    """

    models: list[str]
    parts: dict[str, str]
    runs: list[str]
    folders: list[str]

    def models_of(self, part: str) -> list[str]:
        """List the models of a song's part."""
        return [name for name in self.models if self.parts[name] == part]


@dataclass(frozen=True)
class Studio:
    """Folders, uploads, models and jobs of one server."""

    library: Library
    uploads: Uploads
    jobs: Jobs
    models: Models
    clips: Clips
    listening: Listening

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
        jobs = Jobs(own, devices)
        listening = Listening(library, jobs)
        return cls(library, uploads, jobs, Models(), Clips(library), listening)

    def facts(self, model: str) -> Facts:
        """Return what is known of a model; UserError if it is none."""
        return facts_of(self.library.model(model))

    def make(self, settings: Mapping, user: str = "") -> Job:
        """Queue a job of clips; UserError for settings that don't fit."""
        return self.submit(ClipRequest.of(settings), user)

    def submit(self, request: ClipRequest, user: str = "") -> Job:
        work = work_of(request, self.library, self.models)
        return self.jobs.submit(request.kind, as_json(request), work, user)

    def make_song(self, settings: Mapping, user: str = "") -> Job:
        """Queue a job of songs; UserError for settings that don't fit."""
        return self.submit_song(SongRequest.of(settings), user)

    def submit_song(self, request: SongRequest, user: str = "") -> Job:
        work = songs.work_of(request, self.library, self.models)
        return self.jobs.submit("song", songs.as_json(request), work, user)

    def again(self, name: str, user: str = "") -> Job:
        """Queue a job like one that was, with other seeds."""
        job = self.jobs.find(name)
        if job.kind == "song":
            return self.submit_song(SongRequest.of(job.settings).again(), user)
        return self.submit(ClipRequest.of(job.settings).again(), user)

    def found(self) -> "Found":
        """Look for models, runs and folders; models that can't be read have no part of a song."""
        models = self.library.models()
        parts = {name: self._part(name) for name in models}
        return Found(models, parts, self.library.runs(), self.library.audio_folders())

    def _part(self, model: str) -> str:
        try:
            return self.facts(model).part
        except UserError as error:
            log.info("%s is left out of songs: %s", model, error)
            return ""

    def compare(
        self, kind: str, sources: tuple[str, str], rounds: int, seconds: float, user: str = ""
    ) -> str:
        """Start a blind test of two folders or models, which make clips first; return its name."""
        models = self.library.models()
        count = min(CLIPS, max(1, rounds))
        made = [
            self.make({"model": one, "seconds": seconds, "count": count, "seed": 0}, user)
            if one in models
            else None
            for one in sources
        ]
        return self.listening.plan(kind, sources, (made[0], made[1]), rounds, user)

    def vary(self, name: str, clip: str, user: str = "") -> Job:
        """Queue variations of a clip that a job made."""
        job = self.jobs.find(name)
        if job.kind == "song":
            raise UserError("a song has no variations: Again makes another one")
        request = ClipRequest.of(job.settings)
        found = self.clips.describe(clip)
        seconds = found["seconds"] if found else 0.0
        return self.submit(
            varied(request, clip, seconds, self.facts(request.model).takes_init), user
        )

    def say(self, error: Exception) -> str:
        """Return what a browser may read of an error."""
        return without_paths(message_of(error), self.library)
