"""Files of generated audio: WAV, spectrogram, and the settings that make them again."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from audio import files as audio
from audio.page.settings import entry, settings_of
from audio.page.write import update_page
from audio.spectrogram import write_spectrogram
from foundation.audio_module import AudioModel
from foundation.files import output_folder, user_path, write_json
from foundation.sampler import Sampler
from foundation.settings import as_settings
from music_diffusion.commands.prompt import Prompt
from music_diffusion.commands.runs import model_name
from music_diffusion.provenance import made_now

log = logging.getLogger(__name__)


class SampleFolder:
    """A folder of samples, numbered on from those that are in it; UserError if it's a file."""

    def __init__(self, out: str | Path):
        self.folder = output_folder(out)
        self._told = False

    def write(
        self,
        clips: Tensor,
        model: AudioModel,
        sampler: Sampler | None,
        settings: Mapping,
        prompt: Prompt | None = None,
    ) -> list[Path]:
        """Write clips [B, C, T], which these settings of `sample` generated together.

        Clips that continue or repair a `prompt` are written with what of its file lies around them.
        """
        saved = str((model.provenance or {}).get("time", ""))
        name = model_name(str(settings["checkpoint"]), saved)
        made, files = {**made_now(), "name": name, "model": model.provenance}, []
        self._tell_of_others(name)
        if prompt is not None and prompt.keep is None:
            made["continued_from"] = prompt.total / prompt.rate
        if model.codec is not None:
            made["codec"] = model.codec.fingerprint
        number = 0
        for index, clip in enumerate(clips):
            while (path := self.folder / f"sample_{number}.wav").exists():
                number += 1
            if prompt is None:
                clip = within_full_scale(clip, path.name)
            pieces = [clip] if prompt is None else prompt.around(clip)
            audio.write_pieces(path, pieces, clip.shape[0], model.sample_rate)
            write_spectrogram(path.with_suffix(".png"), clip, model.sample_rate)
            used = sampler and as_settings(sampler)
            content = {"settings": absolute(settings) | {"sampler": used}}
            write_json(path.with_suffix(".json"), content | {"index": index, "made": made})
            files.append(path)
        update_page(self.folder)
        return files

    def _tell_of_others(self, name: str) -> None:
        """Say once that clips of other models lie here, too."""
        if self._told:
            return
        self._told = True
        found = [settings_of(path) for path in self.folder.glob("sample_*.wav")]
        others = {str(one) for one in (entry(each, "made", "name") for each in found) if one}
        if others - {name}:
            log.info(
                "%s holds clips of %s, too: they are apart on its page; --out NAME takes another "
                "folder", self.folder, " and ".join(sorted(others - {name})),
            )  # fmt: skip


def within_full_scale(clip: Tensor, name: str) -> Tensor:
    """Turn a clip [C, T] down to a peak of 1, which is full scale, where it goes beyond."""
    peak = float(clip.abs().max())
    if peak <= 1:
        return clip
    log.info("%s would clip: turned down by %.1f dB", name, 20 * math.log10(peak))
    return clip / peak


def absolute(settings: Mapping) -> dict:
    """Return settings with the paths of files as they are from anywhere."""
    made = {name: value for name, value in settings.items() if name != "out"}
    for name in ("checkpoint", "prompt", "init_audio"):
        if made[name]:
            made[name] = str(user_path(made[name], name).absolute())
    return made
