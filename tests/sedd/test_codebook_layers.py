"""Networks over several codebooks: their options, and the loss that reads the masks alone."""

from functools import partial

import pytest
import torch

from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from foundation.errors import UserError
from sedd import vocabulary
from sedd.codebook_layers import initial_embedding, standardise
from sedd.ddit import DDiT
from sedd.graph import Absorb, Uniform
from sedd.hybrid import Hybrid
from sedd.module import SEDD
from sedd.score_net import Conditioned, ScoreNet, scores_at
from tests.datamodules.test_token_store import Coarse

K, N, L = 3, 10, 9
VECTORS = torch.randn(K, N, 4, generator=torch.Generator().manual_seed(0))
GENERATOR = torch.Generator().manual_seed(1)
X0 = torch.randint(N, (3, K, L), generator=GENERATOR)
SIGMA = torch.tensor([0.1, 1.0, 5.0])


def tiny(start: bool = True, trained: bool = True, **options) -> DDiT:
    torch.manual_seed(0)
    net = DDiT(N + 1, K, 32, num_blocks=1, num_heads=2, cond_dim=16, dropout=0.0, **options)
    if start:
        net.start_from_codes(VECTORS)
    for weight in net.parameters():  # the zeros of a fresh network hide what a test looks for
        if trained and not weight.any():
            torch.nn.init.normal_(weight, std=0.2)
    return net


def noisy() -> torch.Tensor:
    return Absorb(N).perturb(X0, SIGMA, torch.Generator().manual_seed(2))


@pytest.mark.parametrize("options", [{}, {"conv": 3}, {"scale_by_sigma": False}], ids=str)
def test_some_tokens_alone_have_the_scores_that_they_have_among_all(options):
    net, x = tiny(**options).eval(), noisy()
    where = torch.rand(x.shape, generator=torch.Generator().manual_seed(4)) < 0.4
    expected = net(x, SIGMA)[where]
    torch.testing.assert_close(scores_at(Conditioned(net), x, SIGMA, where), expected)
    torch.testing.assert_close(scores_at(net, x, SIGMA, where), expected)
    assert scores_at(Conditioned(net), x, SIGMA, where & False).shape == (0, N + 1)


def test_only_logits_of_masks_are_computed(monkeypatch):
    net, x, seen = tiny(), noisy(), []
    plain = vocabulary.product
    monkeypatch.setattr(
        vocabulary, "product", lambda h, *rest: seen.append(len(h)) or plain(h, *rest)
    )
    net.mask_scores(x, SIGMA, X0, x == N)
    assert seen == (x == N).sum((0, 2)).tolist()


def test_a_fresh_network_knows_the_codebooks_and_gives_every_code_the_same_ratio():
    net, x = tiny(trained=False, conv=3), noisy()
    log_score = net(x, SIGMA)[x == N][:, :-1]
    torch.testing.assert_close(log_score, log_score[:, :1].expand(-1, N))
    embedding = net.vocab_embed.embedding.detach().unflatten(0, (K, N + 1))
    near, far = (VECTORS[0, 0] - VECTORS[0, 1:]).norm(dim=1).sort().indices[[0, -1]] + 1
    distances = (embedding[0, 0] - embedding[0]).norm(dim=1)
    assert distances[near] < distances[far]
    total, at = net.mask_scores(x, SIGMA, X0, x == N)
    (total - at).sum().backward()
    weights = dict(net.named_parameters())
    for name in ("output_layer.codebooks.low", "output_layer.linear.weight"):
        gradient = weights[name].grad
        assert gradient is not None and gradient.any()


def test_standardised_vectors_have_deviation_one_and_masks_a_vector_of_their_own():
    scaled = standardise(7 * VECTORS, N + 1)
    torch.testing.assert_close(scaled[:, :N].std(dim=(1, 2)), torch.ones(K))
    assert scaled.shape == (K, N + 1, 4) and not scaled[:, N].any()
    embedding = initial_embedding(scaled, 64).unflatten(0, (K, N + 1))
    assert embedding[:, N].std() > 0.1 and not torch.allclose(embedding[0, N], embedding[1, N])


def test_what_the_codec_gives_is_not_saved_and_the_published_form_has_no_new_names():
    assert not {"vectors"} & {name.split(".")[-1] for name in tiny().state_dict()}
    plain = set(tiny(start=False).state_dict())
    assert set(tiny().state_dict()) - plain == {"output_layer.codebooks.low"}
    assert set(tiny(start=False, conv=3).state_dict()) - plain == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize("width", [-1, 2])
def test_the_convolution_has_an_odd_width(width):
    with pytest.raises(UserError, match=f"conv must be an odd width, or 0 for none, got {width}"):
        tiny(conv=width)


@pytest.mark.parametrize("codec, shape", [(JukeboxCodec, (1, 2048, 64)), (SpectralCodec, None)])
def test_codecs_give_the_vectors_that_their_latents_are_made_of(codec, shape):
    codec = codec()
    vectors = codec.code_vectors()
    assert vectors.shape == (shape or (8, 1024, 128))
    tokens = torch.randint(codec.codebook_size, (1, codec.num_codebooks, 1))
    silent = torch.zeros_like(tokens)
    got = codec.tokens_to_latents(tokens) - codec.tokens_to_latents(silent)
    picked = vectors[torch.arange(len(vectors)), tokens[0, :, 0]].sum(0) - vectors[:, 0].sum(0)
    expected = picked / (vectors.std() if isinstance(codec, JukeboxCodec) else 1)
    torch.testing.assert_close(got[0, :, 0], expected, atol=1e-4, rtol=1e-4)


class Vectors(Coarse):
    def code_vectors(self):
        return torch.eye(8)[None]


NET = partial(DDiT, hidden_size=16, num_blocks=1, num_heads=2, cond_dim=8)


def test_a_checkpoint_of_a_model_that_started_from_codebooks_loads(tmp_path):
    model = SEDD(Vectors(), net=NET, start_from_codebooks=True)
    torch.nn.init.normal_(dict(model.net.named_parameters())["output_layer.codebooks.low"])
    again = SEDD(Vectors(), net=NET, start_from_codebooks=True)
    again.load_state_dict(model.state_dict())
    x, sigma = torch.randint(9, (1, 1, 5)), torch.ones(1)
    torch.testing.assert_close(again.eval().net(x, sigma), model.eval().net(x, sigma))


def test_what_cannot_start_from_codebooks_or_needs_masks_says_so():
    with pytest.raises(UserError, match="Coarse has no vectors of its codes: set start_from_"):
        SEDD(Coarse(), net=NET, start_from_codebooks=True)
    with pytest.raises(UserError, match="Bare can't start from the codec's codebooks"):
        SEDD(Vectors(), net=lambda states, books: Bare(), start_from_codebooks=True)
    with pytest.raises(UserError, match="suits graphs that mask tokens alone"):
        SEDD(Coarse(), Uniform, net=NET)
    with pytest.raises(UserError, match="suits graphs that mask tokens alone"):
        SEDD(Coarse(), Hybrid, net=NET)


class Bare(ScoreNet):
    """A network that knows no codebooks."""

    def forward(self, x, sigma, cond=None):
        return torch.zeros(*x.shape, 9)
