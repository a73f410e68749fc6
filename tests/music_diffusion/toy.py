"""A model, data and sampler small enough to go through every command in a second."""

from dataclasses import dataclass

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from foundation.audio_module import AudioModel
from foundation.batch import Batch, Cond
from foundation.errors import UserError
from foundation.sampler import OnStep, Sampler, ignore_step
from foundation.windows import AudioWindow

CONFIG = """
model: {class_path: tests.music_diffusion.toy.Tone}
data: {class_path: tests.music_diffusion.toy.Clips}
trainer:
  max_steps: 4
  val_check_interval: 2
  check_val_every_n_epoch: null
  logger: false
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: callbacks.ema.EMA
    - class_path: callbacks.checkpoint.StepCheckpoint
    - class_path: callbacks.checkpoint.BestCheckpoint
    - class_path: callbacks.demo.Demo
      init_args: {num_demos: 1, seconds: 0.01}
"""


@dataclass(frozen=True)
class Scaled(Sampler):
    """Noise of a size.

    Args:
        steps: how often it's said how far it is
        size: of the noise
    """

    steps: int = 2
    size: float = 0.1


class Tone(AudioModel):
    """One weight, which follows the mean of the data."""

    sampler_type = Scaled

    def __init__(
        self,
        learning_rate: float = 0.1,
        sampler: Scaled = Scaled(),  # noqa: B008 (frozen)
        bad: bool = False,
    ):
        super().__init__()
        self.save_settings()
        self.weight = nn.Parameter(torch.zeros(2))
        self.sampler, self.learning_rate, self.bad = sampler, learning_rate, bad
        self.sample_rate, self.window = 8000, AudioWindow(8000, 64)
        self.batches: dict[str, int] = {}

    def losses(
        self, batch: Batch, times: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        if self.bad:
            raise ValueError("an error in a class of the user's")
        stage = str(self.trainer.state.stage)
        self.batches[stage] = self.batches.get(stage, 0) + 1
        noise = torch.rand((), generator=generator, device=self.device)
        return (self.weight.sum() - batch["audio"].mean((1, 2)) - noise).square()

    @torch.no_grad()
    def generate(
        self,
        seconds: float | None = None,
        *,
        count: int = 1,
        prompt: Tensor | None = None,
        keep: Tensor | None = None,
        init: Tensor | None = None,
        strength: float = 0.5,
        cond: Cond | None = None,
        sampler: Sampler | None = None,
        seed: int = 0,
        on_step: OnStep = ignore_step,
    ) -> Tensor:
        if init is not None:
            raise UserError("Tone can't resemble a file")
        self.check_sampler(sampler)
        chosen = sampler if isinstance(sampler, Scaled) else self.sampler
        for done in range(chosen.steps):
            on_step(done + 1, chosen.steps)
        generator = torch.Generator().manual_seed(seed)
        new = round((0.0 if keep is not None else seconds or 0.1) * self.sample_rate)
        made = chosen.size * torch.rand(count, 1, new, generator=generator)
        if cond:
            made = made + torch.tensor([len(name) / 100 for name in cond["folder"]])[:, None, None]
        if prompt is None:
            return made
        if keep is None:
            return torch.cat([prompt.expand(count, -1, -1), made], dim=-1)
        return torch.where(keep, prompt, torch.zeros_like(prompt)).expand(count, -1, -1)

    def demo(
        self, batch: Batch, num_demos: int, num_samples: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"sample": torch.rand(num_demos, 1, num_samples, generator=generator)}

    def load_weights(self, path: str) -> None:
        raise NotImplementedError

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


class Numbers(Dataset):
    """Sixteen constant clips."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"audio": torch.full((1, 64), index / 16)}


class Clips(LightningDataModule):
    """Eight batches of two clips, for every stage."""

    def describe(self) -> dict[str, object]:
        return {"tracks": 16, "hours": 0.5, "licence": "cc0-1.0"}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Numbers(), batch_size=2)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Numbers(), batch_size=2)

    def test_dataloader(self) -> DataLoader:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader:
        return self.val_dataloader()
