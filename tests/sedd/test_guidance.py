"""SEDD learns labels, is guided by them, resumes with them, and without them is as it was."""

from functools import partial
from typing import cast

import pytest
import torch
from lightning.pytorch import Trainer

from audio import files as audio
from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import StepCheckpoint
from callbacks.ema import EMA
from datamodules.token_data import TokenDataModule
from foundation.batch import Batch
from foundation.conditions import Conditions
from foundation.control import Control
from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.graph import Absorb, Uniform
from sedd.guidance import Guided
from sedd.module import SEDD
from sedd.objective import Subs
from sedd.samplers import Analytic
from tests.datamodules.test_token_store import Coarse, encode

NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8, dropout=0.0)
KNOWN = Conditions(["folder=high", "folder=low"])


def module(**options) -> SEDD:
    torch.manual_seed(0)
    sizes = {"net": NET, "length": 16, "warmup_steps": 2, "learning_rate": 0.01}
    return SEDD(Coarse(), sampler=Analytic(4), **(sizes | options))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two folders of music, whose tokens are 1 in one and 5 in the other."""
    root = tmp_path_factory.mktemp("labels")
    for folder, level in (("low", 1), ("high", 5)):
        for i in range(2):
            audio.write(
                root / "music" / folder / f"{i}.wav", torch.full((1, 4000), (level + 0.5) / 7), 8000
            )
    return str(encode(root / "music", root / "store")[0].folder)


def fit(root, store, steps, path=None, model=None, labels: str | None = "folder") -> SEDD:
    model = model or module()
    trainer = Trainer(
        default_root_dir=root,
        max_steps=steps,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[BatchSeed(), EMA(0.9), StepCheckpoint(every_n_steps=4)],
    )
    data = TokenDataModule(tokens=store, batch_size=4, val_fraction=0.3, labels=labels)
    trainer.fit(model, data, ckpt_path=path, weights_only=False)
    return model


@pytest.mark.parametrize("graph", [Absorb(5), Uniform(5)])
def test_guided_scores_are_powers_that_jump_as_often(graph):
    generator = torch.Generator().manual_seed(0)
    x = torch.full((1, 1, 3), graph.dim - 1)
    table = torch.randn(2, 1, 3, graph.dim, generator=generator).index_fill(-1, x[0, 0, :1], 0)
    told, untold = table[:1], table[1:]

    def law(scores):
        return scores[..., :-1].softmax(-1)

    def score_fn(x, sigma):
        return table.double()

    sigma = torch.ones(1)
    torch.testing.assert_close(Guided(score_fn, 1.0)(x, sigma), told.double())
    guided = Guided(score_fn, 3.0)(x, sigma)
    wanted = law(told).pow(3) * law(untold).pow(-2)
    torch.testing.assert_close(law(guided), (wanted / wanted.sum(-1, keepdim=True)).double())
    total = [scores[..., :-1].exp().sum(-1) for scores in (guided, told.double())]
    torch.testing.assert_close(*total)
    where = torch.tensor([[[True, False, True]]])
    torch.testing.assert_close(Guided(score_fn, 3.0).at(x, sigma, where), guided[where])


def test_conditions_start_without_effect_and_leave_other_models_alone():
    plain, told = module(), module()
    told.condition_on(KNOWN)
    assert not any("conditioner" in name for name in plain.state_dict())
    told.load_state_dict(plain.state_dict() | told.state_dict() | plain.state_dict())
    asked = told.generate(0.01, count=2, seed=3, cond=Control("low"))
    assert torch.equal(plain.generate(0.01, count=2, seed=3), asked)
    for control in (Control("low"), Control(tempo=90)):
        with pytest.raises(UserError, match="SEDD was trained without labels, tags, tempo or key"):
            plain.generate(0.01, cond=control)
    assert torch.equal(plain.generate(0.01), plain.generate(0.01, cond=Control()))


def learned() -> SEDD:
    """Teach a model that the tokens are 1 in one folder and 5 in the other."""
    model = module(objective=Subs).train()
    model.condition_on(KNOWN)
    optimizer = torch.optim.Adam(model.net.parameters(), 0.05)
    folders = ["low", "high"] * 8
    tokens = torch.tensor([1, 5] * 8)[:, None, None].expand(16, 1, 8)
    for _ in range(60):
        times = ((torch.arange(16) + torch.rand(16)) / 16)[torch.randperm(16)]
        optimizer.zero_grad()
        batch = cast("Batch", {"tokens": tokens, "cond": {"folder": folders}})
        model.losses(batch, times).mean().backward()
        optimizer.step()
    return model.eval()


def test_what_is_asked_for_is_what_comes():
    model = learned()

    def share(folder, guidance):
        control = Control(folder, guidance=guidance)
        made = (7 * model.generate(0.128, count=8, cond=control)).round()
        return float((made == {"low": 1, "high": 5}[folder]).float().mean())

    for folder in ("low", "high"):
        assert share(folder, 2) > 0.9 and share(folder, 1) > 0.7
    assert abs(share("low", 0) + share("high", 0) - 1) < 0.2  # one of both, as nothing is asked


def test_a_resumed_run_keeps_its_labels_and_goes_on_exactly(tmp_path, store):
    straight = fit(tmp_path / "a", store, 8)
    fit(tmp_path / "b", store, 4)
    last = str(tmp_path / "b" / "checkpoints" / "last.ckpt")
    content = torch.load(last, weights_only=False)  # its settings are objects
    resumed = module()
    resumed.settle(content, last)
    fit(tmp_path / "b", store, 8, last, resumed)
    for a, b in zip(straight.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    torch.save({name: content[name] for name in ("state_dict", "conditions")}, tmp_path / "w.ckpt")
    fresh = module(
        init_from=str(tmp_path / "w.ckpt")
    )  # as a new run: what it was told stays, more can be added
    assert fresh.conditions == straight.conditions
    fresh.condition_on(Conditions(["folder=new"]))
    assert fresh.conditions.labels == [*straight.conditions.labels, "folder=new"]


def test_a_checkpoint_without_labels_goes_on_without(tmp_path, store, caplog):
    fit(tmp_path, store, 4, labels=None)
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    model = module()
    model.settle({}, last)
    fit(tmp_path, store, 5, last, model)
    assert not model.conditions and "goes on without" in caplog.text


def test_a_field_that_isnt_there_is_named(tmp_path, store):
    with pytest.raises(UserError, match="no metadata 'genre', this .* folder"):
        fit(tmp_path, store, 1, labels="genre")
