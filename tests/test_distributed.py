"""Two processes do what one does."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from codec.vqvae import Codebook
from codec.vqvae_codebook import CodebookEMA
from datamodules import audio
from sedd.ddit import DDiT
from sedd.module import SEDD
from tests.test_tokens import Coarse

ROOT = Path(__file__).parent.parent
NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8, dropout=0.0)


def codebook() -> CodebookEMA:
    book = Codebook(4, 2)
    book.k.copy_(torch.arange(8.0).reshape(4, 2))
    return CodebookEMA(book, decay=0.5, revive_below=0.1)


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 2, generator=generator)
    return x, torch.randint(4, (32,), generator=generator)


class Loss(torch.nn.Module):
    """The training loss for tokens, given what chance would decide."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.module = SEDD(Coarse(), net=NET, length=16)
        torch.nn.init.normal_(self.module.net.output_layer.linear.weight)

    def forward(self, tokens: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        graph = self.module.graph
        masked = torch.where(tokens % 2 == 0, graph.mask_id, tokens)
        object.__setattr__(graph, "perturb", lambda x, sigma: masked)
        return self.module.loss(tokens, times)


def passages() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(8, (4, 16), generator=torch.Generator().manual_seed(1))
    return tokens, torch.linspace(0.2, 0.9, 4)


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    average, (x, codes) = codebook(), vectors()
    average.update(x[rank::2], codes[rank::2])
    average.counts[0] = 0
    average.revive(x[rank::2] + 100 * rank)
    loss = DistributedDataParallel(Loss())
    tokens, times = passages()
    loss(tokens[rank::2], times[rank::2]).backward()
    gradients = [p.grad for p in loss.parameters() if p.grad is not None]
    content = {"sums": average.sums, "k": average.codebook.k, "gradients": gradients}
    torch.save(content, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def test_codebooks_and_gradients_equal_those_of_one_process(tmp_path):
    spawn(work, (str(tmp_path),), nprocs=2)
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    average, (x, codes) = codebook(), vectors()
    average.update(x, codes)
    torch.testing.assert_close(one["sums"][1:], average.sums[1:])
    assert torch.equal(one["k"], two["k"])  # a revived code is the same everywhere
    loss = Loss()
    loss(*passages()).backward()
    expected = [p.grad for p in loss.parameters() if p.grad is not None]
    for a, b, whole in zip(one["gradients"], two["gradients"], expected, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, whole, atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_train_demo_validate_save_and_resume(tmp_path):
    for i in range(4):
        noise = torch.rand(1, 44100, generator=torch.Generator().manual_seed(i)) - 0.5
        audio.write(tmp_path / "music" / f"{i}.wav", noise, 44100)

    def fit(*options: str) -> subprocess.CompletedProcess:
        names = ("sedd_absorb", "tiny", "quickstart")
        configs = [part for name in names for part in ("--config", f"configs/{name}.yaml")]
        command = [
            sys.executable,
            "cli.py",
            "fit",
            *configs,
            "--data.audio",
            str(tmp_path / "music"),
        ]
        command += ["--model.length", "32", "--model.demo_steps", "2", "--data.batch_size", "2"]
        command += ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
        command += ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path)]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        command += ["--trainer.val_check_interval", "2", *options]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )

    first = fit("--trainer.max_steps", "2")
    assert first.returncode == 0, first.stderr[-2000:]
    assert list(tmp_path.glob("demos/step_00000002/*.wav"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    second = fit("--trainer.max_steps", "4", "--ckpt_path", "last")
    assert second.returncode == 0, second.stderr[-2000:]
    steps = [torch.load(path)["global_step"] for path in last.parent.glob("last*.ckpt")]
    assert max(steps) == 4
