"""Small stand-ins for the models of a song: fast, and their output shows what they were given."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from codec.jukebox import JukeboxCodec
from foundation.sampler import OnStep, ignore_step
from foundation.windows import AudioWindow
from jbdiff.dance_sampling import sine_times
from jbdiff.samplers import DDIM, LatentSampler
from jbdiff.song_maker import make_song
from jbdiff.song_settings import DanceSettings, LevelSettings, Song

RATE = 44100
CODECS = {level: JukeboxCodec(level) for level in range(3)}


class ToyLevel(nn.Module):
    """A level on the embedded codec that mixes what it is given instead of denoising it."""

    context_tokens, base_tokens, sample_rate = 128, 64, RATE

    def __init__(self, level: int):
        super().__init__()
        self.level, self.codec = level, CODECS[level]
        self.given: list[dict[str, Tensor | None]] = []
        self.before_step: Callable[[], None] = lambda: None

    @property
    def device(self) -> torch.device:
        return self.codec.vqvae.codebook(0).k.device

    @property
    def from_noise(self) -> bool:
        return self.level == 2

    def fill_context(self, latents: Tensor) -> Tensor:
        raise NotImplementedError  # these levels' contexts are filled with silence

    def sample_latents(
        self,
        noise: Tensor,
        context: Tensor,
        *,
        sampler: LatentSampler,
        guidance: float,
        guidance_rescale: float = 0.0,
        cond: object = None,
        init: Tensor | None = None,
        strength: float = 1.0,
        generator: object = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        self.given.append({"noise": noise, "context": context, "init": init})
        steps = sampler.steps
        left = steps if init is None else steps - int(strength * steps)
        for i in range(left):
            self.before_step()
            on_step(i + 1, left)
        if init is None:
            return 0.9 * noise + 0.1 * context.mean(-1, keepdim=True)
        return init if strength == 1 else init.lerp(noise, 1 - strength)


class ToyDance(nn.Module):
    """Adds a little of the noise to the initial audio."""

    sample_rate, window = RATE, AudioWindow(RATE, 8192, channels=2)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.given: list[Tensor] = []
        self.before_step: Callable[[], None] = lambda: None

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def sample_audio(
        self,
        noise: Tensor,
        *,
        init: Tensor,
        strength: float,
        sampler: LatentSampler,
        generator: object = None,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        self.given.append(init)
        self.before_step()
        assert len(sine_times(sampler.steps, strength)) > 0
        return init + (1 - strength) * 0.01 * noise


class Studio:
    """Toy models by the name of their checkpoint, and a folder for songs."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.models = {f"level_{level}": ToyLevel(level) for level in range(3)}
        self.models["dance"] = ToyDance()
        for name in self.models:
            (folder / name).write_text(name)
        self.calls, self.stop_at = 0, 0
        for model in self.models.values():
            model.before_step = self._step

    def _step(self) -> None:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt

    def song(
        self, out: str = "song", dance: bool | DanceSettings = True, **settings: object
    ) -> Song:
        """Settings of a song of small steps, with every level's checkpoint."""
        levels = {
            f"level_{n}": LevelSettings(str(self.folder / f"level_{n}"), DDIM(4), 2.0, strength)
            for n, strength in ((2, 0.0), (1, 0.67), (0, 0.5))
        }
        stereo = DanceSettings(
            str(self.folder / "dance") if dance else None, DDIM(4), crossfade=512
        )
        stereo = dance if isinstance(dance, DanceSettings) else stereo
        given = {"seconds": 0.3, "token_multiplier": 1, "dance": stereo, **levels, **settings}
        return Song(out=str(self.folder / out), **given)

    def make(self, song: Song) -> Path:
        return make_song(song, self.models)
