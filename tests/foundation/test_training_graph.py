"""A training step is one graph: nothing in it asks the device for a number."""

from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from codec.jukebox import JukeboxCodec
from foundation.audio_module import AudioModel
from foundation.batch import num_examples
from foundation.codec import Codec
from foundation.compiled import Compiled
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.latent_transformer import LatentDiT
from jbdiff.module import JBDiff
from jbdiff.unet import UNet
from sedd import vocabulary
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph, Uniform
from sedd.module import SEDD
from sedd.objective import Objective, ScoreEntropy, Subs
from tests.datamodules.test_token_store import Coarse, Smooth, Triple

NET = partial(DDiT, hidden_size=16, num_blocks=2, num_heads=2, cond_dim=8)
LATENT = partial(
    LatentDiT, channels=2, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8, near=4, patch=2
)
WAVES = partial(DiffusionAttnUnet1D, depth=3, n_attn_layers=1, c_mults=[32, 32, 32])
FEW = {"items": (1, 1), "attentions": (0, 1), "cross_attentions": (1, 1), "attention_heads": 1}
LEVEL = partial(UNet, channels=(8, 8), factors=(1, 2), attention_features=8, **FEW)


def sedd(
    graph: type[Graph] = Absorb,
    codec: type[Codec] = Coarse,
    objective: type[Objective] = ScoreEntropy,
) -> tuple[AudioModel, dict]:
    net = partial(NET, scale_by_sigma=graph is Absorb)
    model = SEDD(codec(), graph, net=net, length=16, objective=objective)
    tokens = torch.randint(8, (4, model.codec.num_codebooks, 16))
    return model, {"tokens": tokens, "cond": {"folder": ["a", "b", "c", "d"]}}


def level_2() -> tuple[AudioModel, dict]:
    model = JBDiff(2, net=LEVEL, base_tokens=16)
    assert isinstance(model.codec, JukeboxCodec)
    tokens = torch.randint(2048, (2, 1, 48))
    return model, {"tokens": tokens[..., :16], "context": tokens[..., 16:]}


def level_3() -> tuple[AudioModel, dict]:
    model = JBDiff(3, codec=Smooth(), net=LATENT, base_tokens=16)
    return model, {"latents": torch.randn(2, 2, 16), "context": torch.randn(2, 2, 16)}


def dance() -> tuple[AudioModel, dict]:
    return Dance(WAVES, length=64), {"audio": torch.randn(2, 2, 64)}


MODELS = {
    "absorb": sedd,
    "absorb, 3 codebooks": partial(sedd, codec=Triple),
    "Subs, 3 codebooks": partial(sedd, codec=Triple, objective=Subs),
    "uniform, 3 codebooks": partial(sedd, Uniform, Triple),
    "level 2": level_2,
    "level 3": level_3,
    "Dance": dance,
}


def times_of(batch: dict) -> torch.Tensor:
    return torch.rand(num_examples(batch))


models = pytest.mark.parametrize("name", MODELS)


@models
def test_the_loss_is_one_graph(name):
    model, batch = MODELS[name]()
    torch._dynamo.reset()
    found = torch._dynamo.explain(model.train().losses)(batch, times_of(batch))
    assert (found.graph_break_count, found.graph_count) == (0, 1), found.break_reasons


@models
def test_a_step_waits_for_no_number(name, monkeypatch):
    """On a CPU, with what picks places out for speed as it is on a GPU."""
    monkeypatch.setattr(vocabulary, "picks_places", lambda h: False)
    model, batch = MODELS[name]()
    model.train()
    with profile(activities=[ProfilerActivity.CPU]) as taken:
        model.losses(batch, times_of(batch)).mean().backward()
    asking = {"aten::nonzero", "aten::item", "aten::_local_scalar_dense"}
    found = [event for event in taken.events() or () if event.name in asking]
    inner = {"aten::std", "aten::item"}  # the deviation of all numbers is a number on a CPU alone
    assert all(one.cpu_parent and one.cpu_parent.name in inner for one in found), found


@pytest.mark.parametrize("name", ["absorb, 3 codebooks", "Subs, 3 codebooks"])
def test_picking_places_out_changes_no_loss_and_no_gradient(name, monkeypatch):
    found = []
    for picks in (True, False):
        monkeypatch.setattr(vocabulary, "picks_places", lambda h, picks=picks: picks)
        torch.manual_seed(0)
        model, batch = MODELS[name]()
        torch.nn.init.normal_(model.net.output_layer.linear.weight)
        losses = model.eval().losses(batch, torch.tensor([0.1, 0.4, 0.7, 1.0]))
        losses.mean().backward()
        found.append([losses, *(w.grad for w in model.net.parameters() if w.grad is not None)])
    torch.testing.assert_close(found[0], found[1])


def test_what_cannot_be_compiled_runs_as_it_is_after_one_line(caplog, monkeypatch):
    def failing(graph: torch.fx.GraphModule, inputs: list) -> None:
        raise RuntimeError("no compiler here")

    step = Compiled(lambda x: 2 * x, "the step")
    step.fast = torch.compile(step.function, backend=failing)
    assert [float(step(torch.ones(()))) for _ in range(2)] == [2, 2]
    (line,) = [one.getMessage() for one in caplog.records if one.name == "foundation.compiled"]
    assert "the step isn't compiled" in line and "--model.compile false" in line
