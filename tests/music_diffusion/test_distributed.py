"""Two processes do what one does."""

from functools import partial

import pytest
import torch
from torch import distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from audio import files as audio
from codec.vqvae import Codebook
from codec.vqvae_codebook import CodebookEMA
from sedd.ddit import DDiT
from sedd.module import SEDD
from tests.datamodules.test_token_store import Coarse
from tests.jbdiff.test_module import SIZES
from tests.processes import run_ranks

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
        object.__setattr__(graph, "perturb", lambda *_: masked)
        return self.module.losses({"tokens": tokens}, times).mean()


def passages() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(8, (4, 1, 16), generator=torch.Generator().manual_seed(1))
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


MODELS = {
    "sedd": ("sedd_absorb tiny quickstart", ["--model.length=32"]),
    "level_1": ("jbdiff jbdiff_tiny", ["--model.jb_level=1", *SIZES]),
    "dance": (
        "dance dance_tiny",
        ["--model.length=2048", "--model.net.depth=3", "--model.net.c_mults=[32,32,32]"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_demo_validate_save_and_resume(model, command_line, music, tmp_path):
    names, sizes = MODELS[model]
    configs = [part for name in names.split() for part in ("--config", f"configs/{name}.yaml")]
    command = ["fit", *configs, f"--data.audio={music}", *sizes]
    command += ["--model.sampler.steps=2", "--data.batch_size=2", "--trainer.logger=false"]
    command += ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.accelerator=cpu"]
    command += ["--trainer.precision=32-true"]
    command += [f"--trainer.default_root_dir={tmp_path}", "--trainer.val_check_interval=2"]
    audio.write(music / "3.wav", audio.read(music / "0.wav") / 2, 44100)

    def fit(*options: str) -> None:
        statuses = run_ranks([*command, *options], tmp_path)
        assert statuses == [0, 0], (tmp_path / "rank_0.log").read_text()[-2000:]

    fit("--trainer.max_steps=2")
    assert list(tmp_path.glob("demos/step_00000002/*.wav"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 2
    fit("--trainer.max_steps=4", "--ckpt_path", "last")
    steps = [torch.load(path)["global_step"] for path in last.parent.glob("last*.ckpt")]
    assert max(steps) == 4
