"""SEDD through the Trainer: it learns, demos, resumes exactly, and keeps what it is told to."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer

from audio import files as audio
from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import StepCheckpoint
from callbacks.ema import EMA
from datamodules.token_data import TokenDataModule
from foundation.errors import UserError
from foundation.sampler import Sampler
from sedd.ddit import DDiT
from sedd.generation import fill, windows
from sedd.graph import Absorb, Uniform
from sedd.module import SEDD
from sedd.ngram_baseline import NGramBaseline
from sedd.samplers import Analytic
from tests.datamodules.test_token_store import Coarse, Triple, encode

NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)


class Foreign(Sampler):
    """A sampler of another family."""


@pytest.fixture
def store(tmp_path):
    for i in range(4):
        noise = torch.rand(1, 8000, generator=torch.Generator().manual_seed(i))
        audio.write(tmp_path / "music" / f"{i}.wav", noise * torch.linspace(0, 1, 8000), 8000)
    return str(encode(tmp_path / "music", tmp_path / "store")[0].folder)


def module(graph=Absorb, codec=None) -> SEDD:
    torch.manual_seed(0)
    net = partial(NET, scale_by_sigma=graph is Absorb)
    return SEDD(codec or Coarse(), graph, net=net, length=16, warmup_steps=2, sampler=Analytic(4))


def fit(root, store: str, steps: int, path: str | None = None, model: SEDD | None = None) -> SEDD:
    model = model or module()
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
    batch = torch.zeros(2, 1, 16, dtype=torch.long)
    demos = model.demo({"tokens": batch}, 2, 10_000, torch.Generator().manual_seed(0))
    assert {name: tuple(x.shape) for name, x in demos.items()} == {
        "sample": (2, 1, 3 * 16 * 64),  # demo_windows
        "real": (2, 1, 16 * 64),
    }
    short = model.demo({"tokens": batch}, 2, 5 * 64, torch.Generator().manual_seed(0))
    assert {x.shape[-1] for x in short.values()} == {5 * 64}


def test_baselines_of_a_sequence_that_alternates_and_of_noise():
    ngrams = NGramBaseline(4)
    ngrams.update(torch.tensor([[[0, 1] * 500]]))
    bits = ngrams.bits()
    assert bits["unigram"] == pytest.approx(1, abs=0.01) and bits["bigram"] < 0.01
    ngrams = NGramBaseline(256)
    ngrams.update(torch.randint(256, (8, 1, 512), generator=torch.Generator().manual_seed(0)))
    bits = ngrams.bits()  # sparse pairs must not pass for knowledge
    assert bits["unigram"] > 7.9 and bits["bigram"] > 7.9


def test_codebooks_are_counted_apart():
    ngrams = NGramBaseline(4)
    noise = torch.randint(4, (8, 1, 512), generator=torch.Generator().manual_seed(0))
    ngrams.update(torch.cat([torch.zeros_like(noise), noise], dim=1))
    assert ngrams.bits()["unigram"] == pytest.approx(1, abs=0.02)  # 0 bits and 2


def test_fill_keeps_what_is_given_and_goes_window_by_window():
    seen = []

    def draw(given, keep, on_step):
        assert given.shape[-1] == 16
        on_step(1, 2)  # a sampler that needs 2 of its 4 steps
        on_step(2, 2)
        return torch.where(keep, given, 7)

    tokens, keep = torch.zeros(2, 3, 40, dtype=torch.long), torch.zeros(2, 3, 40, dtype=torch.bool)
    keep[..., 5:9] = True
    parts = windows(keep[0].all(0), 16)
    result = fill(draw, tokens, keep, 16, 4, lambda done, of: seen.append((done, of)))
    assert (result[..., 5:9] == 0).all() and (result[~keep] == 7).all()
    total = 4 * len(parts)
    assert len(parts) > 2 and seen == [(done, total) for done in range(2, total + 1, 2)]


def test_a_repaired_prompt_is_the_original_outside_the_gap():
    model = module().eval()
    song = torch.rand(2, 7990, generator=torch.Generator().manual_seed(0)) * 0.5
    keep = torch.ones(7990, dtype=torch.bool)
    keep[3200:4000] = False
    (first,), (again,) = (model.generate(prompt=song, keep=keep) for _ in range(2))
    assert first.shape == song.shape and torch.equal(first, again)
    assert torch.equal(first[:, keep], song[:, keep])  # all of them, and in stereo
    assert not torch.equal(song[0, ~keep], first[0, ~keep])


def test_a_prompt_is_continued_and_a_clip_does_not_depend_on_the_others():
    model = module().eval()
    prompt = torch.rand(1, 4000, generator=torch.Generator().manual_seed(0))
    clips = model.generate(0.5, prompt=prompt, count=3, seed=4)
    assert clips.shape == (3, 1, 63 * 64 + 62 * 64)
    assert torch.equal(clips[:, 0, :4000], prompt.expand(3, -1))
    assert torch.equal(model.generate(0.5, prompt=prompt, seed=6)[0], clips[2])


@pytest.mark.parametrize("codec, given, result", [(Coarse, 2, 2), (Triple, 1, 2), (Triple, 3, 3)])
def test_a_prompt_of_other_channels_than_the_codecs(codec, given, result):
    model = module(codec=codec()).eval()
    prompt = torch.rand(given, 1024, generator=torch.Generator().manual_seed(0))
    clip = model.generate(0.1, prompt=prompt)[0]
    assert len(clip) == result
    assert torch.equal(clip[:, :1024], prompt.expand(result, -1))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(seconds=-1.0), "seconds must be positive, got -1.0"),
        (dict(seconds="5"), "seconds must be positive, got '5'"),
        (dict(seconds=float("nan")), "seconds must be positive, got nan"),
        (dict(seconds=1.0, count=1.5), "count must be a whole number, got 1.5"),
        (dict(seconds=1.0, prompt="song.wav"), "prompt must be a tensor of floats .*, got str"),
        (dict(seconds=1.0, prompt=torch.ones(1, 4).int()), "got torch.int32"),
        (dict(seconds=1.0, prompt=torch.full((1, 4), math.nan)), "prompt holds samples that are"),
        (dict(seconds=1.0, cond="jazz"), "cond must be a Control or metadata by name, got 'jazz'"),
        (dict(seconds=1.0, sampler=Analytic), r"an instance, such as Analytic\(\)"),
        (dict(seconds=1.0, count=0), "count must be at least 1, got 0"),
        (dict(seconds=1.0, count=4, cond={"folder": "jazz"}), "cond folder must list a value for"),
        (dict(seconds=1.0, prompt=torch.zeros(1, 1, 4)), "prompt must be audio"),
        (dict(keep=torch.ones(4).bool()), "keep needs a prompt"),
        (dict(seconds=1.0, prompt=torch.zeros(1, 4), keep=torch.ones(4).bool()), "give keep"),
        (dict(prompt=torch.zeros(1, 4), keep=torch.ones(3).bool()), "must be 4 booleans"),
        (dict(prompt=torch.zeros(1, 4), keep=torch.ones(4).bool()), "nothing is left"),
        (dict(seconds=1.0, init=torch.zeros(1, 4)), "can't start from init audio"),
        (
            dict(seconds=1.0, sampler=Foreign()),
            "Foreign can't sample SEDD, which takes",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        module().generate(**options)


class Steps(Coarse):
    """Loudness in three codebooks, each step four times as fine as the one before."""

    num_codebooks, codebook_size, fingerprint = 3, 4, "steps"

    def encode(self, audio):
        mono = torch.nn.functional.pad(audio.mean(1), (0, -audio.shape[-1] % self.hop))
        loudness = mono.unflatten(-1, (-1, self.hop)).abs().mean(-1).clamp(max=0.999)
        return torch.stack([(loudness * 4**k).long() % 4 for k in (1, 2, 3)], dim=1)

    def decode(self, tokens):
        weights = torch.tensor([4.0**-k for k in (1, 2, 3)])[:, None]
        return (tokens * weights).sum(1, keepdim=True).repeat_interleave(self.hop, -1)


def test_three_codebooks_go_all_the_way(tmp_path):
    """Encode, fit, resume, sample and repair."""
    for i in range(4):
        noise = torch.rand(1, 8000, generator=torch.Generator().manual_seed(i))
        audio.write(tmp_path / "music" / f"{i}.wav", noise, 8000)
    store = str(encode(tmp_path / "music", tmp_path / "store", codec=Steps())[0].folder)
    three = partial(module, codec=Steps())
    fit(tmp_path, store, 2, model=three())
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    model = fit(tmp_path, store, 4, last, model=three()).eval()
    assert model.net.state_dict()["vocab_embed.embedding"].shape == (3 * 5, 16)
    batch = {"tokens": torch.randint(4, (2, 3, 16))}
    assert model.losses(batch, torch.tensor([0.3, 0.9])).shape == (2,)
    assert model.generate(0.5, count=2).shape == (2, 1, 4000)
    song, keep = 0.9 * torch.rand(1, 1024), torch.ones(1024, dtype=torch.bool)
    keep[256:512] = False
    repaired = model.generate(prompt=song, keep=keep)[0]
    assert repaired.shape == song.shape and torch.equal(repaired[:, 960:], song[:, 960:])


class Flat(Analytic):
    """A sampler of somebody's that loses the codebooks."""

    def reverse(self, *args):
        return super().reverse(*args)[:, 0]


class Halved(Coarse):
    """A codec of somebody's that decodes half of the samples."""

    def decode(self, tokens):
        return super().decode(tokens)[..., ::2]


@pytest.mark.parametrize("group", [1, 2])
def test_wrong_shapes_of_a_users_class_are_told_by_its_name(group):
    model = SEDD(Halved(), net=NET, length=16, group=group)
    sampler = Flat(1)
    with pytest.raises(ValueError, match=r"Flat.reverse must return a tensor \[2, ., .+, got \[2"):
        model.generate(0.256, count=2, sampler=sampler)
    with pytest.raises(ValueError, match=r"Halved.decode must .* \[2, 1, 2048\], got \[2, 1, 1024"):
        model.generate(0.256, count=2, sampler=Analytic(1))


@pytest.mark.parametrize("length", [1024, 1000, 30])
def test_a_continuation_begins_where_the_prompt_ends(length):
    """The last token of a prompt is seldom full: what it lacks is generated, not silent."""
    model = module().eval()
    prompt = torch.full((1, length), 0.3)
    made = model.generate(0.1, prompt=prompt)[0]
    hop, rate = model.codec.hop, model.sample_rate
    assert made.shape[-1] == length + round(0.1 * rate)
    assert torch.equal(made[:, :length], prompt)
    assert (made[:, length : length + hop] != 0).float().mean() > 0.5
