"""SEDD through the Trainer: it learns, demos, resumes exactly, and keeps what it is told to."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from audio import files as audio
from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import StepCheckpoint
from callbacks.ema import EMA
from datamodules.token_data import TokenDataModule
from sedd.ddit import DDiT
from sedd.generation import FADE, generate, plan
from sedd.graph import Absorb, Uniform
from sedd.module import SEDD
from sedd.ngram_baseline import NGrams
from sedd.samplers import fill
from tests.datamodules.test_token_store import Coarse, encode

NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)


@pytest.fixture
def store(tmp_path):
    for i in range(4):
        noise = torch.rand(1, 8000, generator=torch.Generator().manual_seed(i))
        audio.write(tmp_path / "music" / f"{i}.wav", noise * torch.linspace(0, 1, 8000), 8000)
    return str(encode(tmp_path / "music", tmp_path / "store")[0].folder)


def module(graph=Absorb) -> SEDD:
    torch.manual_seed(0)
    net = partial(NET, scale_by_sigma=graph is Absorb)
    return SEDD(Coarse(), graph, net=net, length=16, warmup_steps=2, demo_steps=4)


def fit(root, store: str, steps: int, path: str | None = None) -> SEDD:
    model = module()
    trainer = Trainer(
        default_root_dir=root,
        max_steps=steps,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[BatchSeed(), EMA(0.9), StepCheckpoint(every_n_steps=10)],
    )
    data = TokenDataModule(tokens=store, batch_size=4)
    # built here, not by the CLI, its settings are objects
    trainer.fit(model, data, ckpt_path=path, weights_only=False)
    return model


def test_twenty_steps_equal_ten_and_ten_more(tmp_path, store):
    straight = fit(tmp_path / "a", store, 20)
    fit(tmp_path / "b", store, 10)
    torch.manual_seed(99)  # what happens in between must not matter
    resumed = fit(tmp_path / "b", store, 20, str(tmp_path / "b" / "checkpoints" / "last.ckpt"))
    for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("graph", [Absorb, Uniform])
def test_validation_and_demo_run(tmp_path, store, graph):
    model = module(graph)
    trainer = Trainer(
        default_root_dir=tmp_path, max_steps=2, logger=False, accelerator="cpu",
        val_check_interval=1, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, TokenDataModule(tokens=store, batch_size=2))
    bits = trainer.callback_metrics["val/bits_per_token"]
    assert bits.isfinite() and "val/bigram_bits_per_token" in trainer.callback_metrics
    batch = next(iter(DataLoader([torch.zeros(16, dtype=torch.long)] * 2, batch_size=2)))
    demos = model.demo({"tokens": batch}, 2, 10_000, torch.Generator().manual_seed(0))
    assert {name: tuple(x.shape) for name, x in demos.items()} == {
        "sample": (2, 1, 3 * 16 * 64),  # demo_windows
        "real": (2, 1, 16 * 64),
    }
    short = model.demo({"tokens": batch}, 2, 5 * 64, torch.Generator().manual_seed(0))
    assert {x.shape[-1] for x in short.values()} == {5 * 64}


def test_yardsticks_of_a_sequence_that_alternates_and_of_noise():
    ngrams = NGrams(4)
    ngrams.update(torch.tensor([[0, 1] * 500]))
    bits = ngrams.bits()
    assert bits["unigram"] == pytest.approx(1, abs=0.01) and bits["bigram"] < 0.01
    ngrams = NGrams(256)
    ngrams.update(torch.randint(256, (8, 512), generator=torch.Generator().manual_seed(0)))
    bits = ngrams.bits()  # sparse pairs must not pass for knowledge
    assert bits["unigram"] > 7.9 and bits["bigram"] > 7.9


def test_fill_keeps_what_is_given_and_goes_window_by_window():
    seen = []

    def draw(given, keep):
        seen.append(given.shape[1])
        return torch.where(keep, given, 7)

    tokens, keep = torch.zeros(2, 40, dtype=torch.long), torch.zeros(2, 40, dtype=torch.bool)
    keep[:, 5:9] = True
    result = fill(draw, tokens, keep, 16)
    assert (result[:, 5:9] == 0).all() and (result[~keep] == 7).all() and set(seen) == {16}


def test_a_repaired_file_is_the_original_outside_the_gap(tmp_path):
    model = module().eval()
    song = torch.rand(2, 7990, generator=torch.Generator().manual_seed(0)) * 0.5
    audio.write(tmp_path / "song.wav", song, 8000, "FLOAT")
    todo = plan(model, 1.0, tmp_path / "song.wav", (0.4, 0.5))
    (first,), (again,) = (list(generate(model, todo, steps=4)) for _ in range(2))
    assert first.shape == song.shape and torch.equal(first, again)
    gap = slice(round(0.4 * 8000) // 64 * 64, round(0.5 * 8000) // 64 * 64)
    assert torch.equal(first[:, : gap.start - FADE], song[:, : gap.start - FADE])
    assert torch.equal(first[:, gap.stop + FADE + 64 :], song[:, gap.stop + FADE + 64 :])
    assert torch.equal(first[0, gap], first[1, gap]) and not torch.equal(
        song[0, gap], first[0, gap]
    )


def test_a_prompt_is_continued_and_wrong_times_are_refused(tmp_path):
    model = module().eval()
    audio.write(tmp_path / "song.wav", torch.rand(1, 4000), 8000, "FLOAT")
    results = list(generate(model, plan(model, 0.5, tmp_path / "song.wav"), count=3, batch_size=2))
    assert len(results) == 3 and all(x.shape == (1, 63 * 64 + 62 * 64) for x in results)
    with pytest.raises(ValueError, match="regenerate needs 0 <= start < end <= 0.50 s"):
        plan(model, 1.0, tmp_path / "song.wav", (0.4, 0.9))
    with pytest.raises(ValueError, match="regenerate needs a prompt"):
        plan(model, 1.0, None, (0.1, 0.2))
