"""Jobs and clips as the browser gets them: JSON with references, never with a path."""

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from audio.page.clips import HALF, Clip, ClipReader, Picture
from audio.page.render import plot_style
from audio.page.settings import Part, part_of, settings_of
from foundation.errors import MissingFileError
from music_diffusion.studio.jobs import Job, Jobs
from music_diffusion.studio.library import OWN, Library

PATH = re.compile(r"(?<![^\s'\"(=:])(?:/[^/\s:;,'\"]+){2,}")


class Clips:
    """Clips of a library, each read once."""

    def __init__(self, library: Library):
        self.library = library
        self.known: dict[str, tuple[float, dict]] = {}

    def describe(self, reference: str) -> dict | None:
        """Return a clip's name, length, waveform and picture; None where there is none."""
        path = self.library.find(reference)
        modified = path.stat().st_mtime
        if reference in self.known and self.known[reference][0] == modified:
            return self.known[reference][1]
        clip = ClipReader(self.library.roots[OWN]).read(path)  # draws there, not in their folder
        if clip is None:
            return None
        self.known[reference] = modified, described(clip, reference, self.library)
        return self.known[reference][1]


def described(clip: Clip, reference: str, library: Library) -> dict:
    picture = clip.picture
    return {
        "reference": reference,
        "url": address(reference),
        "name": clip.path.name,
        "seconds": math.floor(1e4 * clip.seconds) / 1e4,  # no part that is chosen ends beyond it
        "waveform": clip.waveform,
        "box": f"-0.5 0 {clip.bars} {2 * HALF}",
        "picture": picture and pictured(picture, library),
        "part": marked(part_of(settings_of(clip.path), clip.seconds)),
    }


def marked(part: Part | None) -> dict | None:
    """Return the part of a clip that a model made: where it is, and in words."""
    return part and {"start": part.start, "stop": part.stop, "text": str(part)}


def pictured(picture: Picture, library: Library) -> dict:
    reference = library.reference(picture.path.resolve())
    return {"url": address(reference), "style": plot_style(picture)}


def address(reference: str) -> str:
    """Return where the browser gets a file, from the studio's page."""
    return f"studio/files/{quote(reference)}"


def describe_job(job: Job, jobs: Jobs, clips: Clips) -> dict:
    """Return what the browser shows of a job."""
    own = f"{OWN}/{job.name}"
    made = [clips.describe(f"{own}/{name}") for name in job.files if not lost(jobs, job, name)]
    left = job.seconds_left(time.time())
    return {
        "name": job.name,
        "kind": job.kind,
        "state": job.state,
        "user": job.user,
        "settings": job.settings,
        "created": job.created,
        "notes": [without_paths(note, clips.library) for note in job.notes],
        "summary": summary(job.settings),
        "done": job.done,
        "total": job.total,
        "finishing": job.is_finishing,
        "left": None if left is None else round(left),
        "ahead": jobs.ahead(job) if job.state == "waiting" else 0,
        "took": round(job.ended - job.started, 1) if job.ended and job.started else None,
        "error": without_paths(job.error, clips.library),
        "clips": [clip for clip in made if clip],
        "original": original(job.settings.get("prompt", ""), clips),
    }


def original(reference: str, clips: Clips) -> dict | None:
    """Return the file that a job continued or repaired, if it is still there."""
    try:
        return clips.describe(reference) if reference else None
    except MissingFileError:
        return None


def lost(jobs: Jobs, job: Job, name: str) -> bool:
    return not (jobs.folder / job.name / name).is_file()


def summary(settings: Mapping) -> str:
    """Say in a line what was asked for."""
    forms = {"seconds": "{:g} s", "count": "{} clips", "seed": "seed {}", "sampler": "{}"}
    forms |= {"label": "{}", "tags": "{}", "tempo": "{:g} beats a minute", "key": "{}"}
    if settings.get("prompt"):
        forms["count"] = "{} variants"
    used = {name: settings[name] for name in forms if settings.get(name) not in (None, "", 1)}
    models = settings.get("models") or {"": settings.get("model", "")}
    names = [f"{part.replace('_', ' ')} {model}".strip() for part, model in models.items()]
    return ", ".join([*names, *(forms[name].format(value) for name, value in used.items())])


def without_paths(text: str, library: Library) -> str:
    """Return a message with references in place of paths, and names in place of other paths."""
    for name, root in library.roots.items():
        text = text.replace(f"{root}/", f"{name}/").replace(str(root), name)
    return PATH.sub(lambda found: Path(found[0]).name, text)
