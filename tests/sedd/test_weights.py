"""Weights of SEDD's published layouts and of our own files: used whole, or refused."""

import logging

import pytest
import torch

from foundation.errors import UserError
from sedd.ddit import DDiT
from sedd.weights import TOKENS, load_weights


def net(vocab_size: int = 9, seed: int = 0) -> DDiT:
    torch.manual_seed(seed)
    made = DDiT(vocab_size, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    return made


def same(one: DDiT, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("wrap", ["bare", "checkpoint", "ddp", "repository"])
def test_every_layout_gives_the_same_network(tmp_path, wrap):
    theirs, ours = net(seed=1), net(seed=2)
    state, path = theirs.state_dict(), tmp_path / "weights.pth"
    content = {
        "bare": state,
        "checkpoint": {"state_dict": {f"net.{name}": value for name, value in state.items()}},
        "ddp": {"model": {f"module.{name}": value for name, value in state.items()}},
        "repository": {
            "model": net(seed=3).state_dict(),
            "ema": {"shadow_params": [p.detach() for p in theirs.parameters()]},
            "step": 5,
        },
    }[wrap]
    torch.save(content, path)
    load_weights(ours, path)
    assert same(ours, state)


def test_a_file_of_another_vocabulary_gives_all_but_the_tokens(tmp_path, caplog):
    theirs, ours = net(5, seed=1).state_dict(), net(seed=2)
    own = ours.state_dict()
    kept = {name: own[name].clone() for name in TOKENS}
    torch.save({"model": theirs}, tmp_path / "text.pth")
    with caplog.at_level(logging.WARNING):
        load_weights(ours, tmp_path / "text.pth")
    assert same(ours, theirs | kept)
    assert "is of a vocabulary of 5, this model of 9" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "average"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, damage):
    ours = net()
    before, state = {n: v.clone() for n, v in ours.state_dict().items()}, net(seed=1).state_dict()
    name, content = "blocks.0.attn_out.weight", {"model": state}
    if damage == "average":
        content["ema"] = {"shadow_params": [p.detach() for p in list(ours.parameters())[1:]]}
    elif damage == "shape":
        state[name] = torch.zeros(3)
    else:
        value = state.pop(name)
        state |= {f"{name}x": value} if damage == "unknown" else {}
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="averaged weights" if damage == "average" else name):
        load_weights(ours, tmp_path / "weights.pth")
    if damage != "average":
        assert same(ours, before)
