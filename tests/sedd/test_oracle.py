"""Every sampler on laws that are known exactly: which are met, and with how many steps."""

import pytest
import torch

from benchmarks.known_laws import HiddenMarkov, distance, sampled, sticky, two_words
from sedd.confidence import ConfidenceOrder
from sedd.graph import Absorb, Graph, Uniform
from sedd.hybrid import Hybrid
from sedd.noise import Geometric, LogLinear, Noise
from sedd.objective import Subs
from sedd.remasking import ReMDM
from sedd.samplers import Analytic, Euler, FirstHitting, TokenSampler

LENGTH = 6
LANGUAGES = {"sticky": sticky(), "two words": two_words()}
languages = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


def errors(
    sampler: TokenSampler,
    language: HiddenMarkov,
    kind=Absorb,
    noise: Noise = LogLinear(),  # noqa: B008 (frozen)
    codebooks: int = 1,
    count: int = 2000,
) -> list[float]:
    """Total variation of single tokens, pairs and triples."""
    graph: Graph = kind(language.codebook_size)
    shape = (count, codebooks, LENGTH // codebooks)
    x = sampled(sampler, language, graph, noise, shape, torch.Generator().manual_seed(0))
    return [distance(x.flatten(1), language, length) for length in (1, 2, 3)]


@languages
def test_the_oracle_knows_its_own_texts(language):
    """Its texts have its law, and a token's law given the others is that of the texts."""
    texts = language.texts(20000, 3, torch.Generator().manual_seed(0))
    assert max(distance(texts, language, length) for length in (1, 2, 3)) < 0.02
    graph = Absorb(language.codebook_size)
    x = torch.tensor([[[0, graph.mask_id, graph.mask_id]]])
    law = language.network(graph)(x, torch.ones(1))[0, 0, 1:, : graph.codebook_size].softmax(-1)
    joint = language.law(3)[0]
    torch.testing.assert_close(law, torch.stack([joint.sum(1), joint.sum(0)]) / joint.sum())


EXACT = [FirstHitting(LENGTH), ConfidenceOrder(LENGTH, order_noise=0.0), ConfidenceOrder(LENGTH)]


@languages
@pytest.mark.parametrize("sampler", EXACT, ids=repr)
@pytest.mark.parametrize("codebooks", [1, 2])
def test_token_by_token_the_law_is_met(language, sampler, codebooks):
    assert max(errors(sampler, language, codebooks=codebooks)) < 0.035


MANY = [
    (Analytic(40), Absorb, LogLinear()),
    (Analytic(40, cosine=True), Absorb, LogLinear()),
    (Euler(40), Absorb, LogLinear()),
    (ReMDM(40), Absorb, LogLinear()),
    (ReMDM(40, cap=1.0, rescale=0.1), Absorb, LogLinear()),
    (ReMDM(40, cap=0.05, loop=0.5), Absorb, LogLinear()),
    (Analytic(40), Uniform, Geometric(1e-3, 6.0)),
    (Euler(40), Uniform, Geometric(1e-3, 6.0)),
    (Analytic(40), Hybrid, Geometric(1e-3, 6.0)),
    (Euler(60), Hybrid, LogLinear()),
]


@pytest.mark.parametrize("sampler, kind, noise", MANY, ids=str)
def test_the_error_vanishes_with_many_steps(sampler, kind, noise):
    assert max(errors(sampler, sticky(), kind, noise)) < 0.05


FEW = [Analytic(1), Euler(3), FirstHitting(2), ConfidenceOrder(2), ReMDM(2)]


@pytest.mark.parametrize("sampler", FEW, ids=repr)
def test_few_steps_get_tokens_right_and_runs_of_them_wrong(sampler):
    single, pairs, triples = errors(sampler, two_words())
    assert single < 0.03 and triples > pairs > 0.1


@pytest.mark.parametrize("sampler", [*EXACT, Analytic(40), ReMDM(40)], ids=repr)
def test_what_is_kept_decides_the_rest(sampler):
    """Tokens between two that are kept have the law of the texts that hold these."""
    language, graph = sticky(), Absorb(3)
    tokens = torch.tensor([[[0, 1, 1, 2]]]).expand(3000, 1, 4)
    keep = torch.tensor([True, False, False, True]).expand(3000, 1, 4)
    score_fn = Subs(graph, LogLinear()).log_score(language.network(graph))
    generator = torch.Generator().manual_seed(0)
    x = sampler.sample(score_fn, graph, LogLinear(), tokens, keep, generator)[:, 0]
    assert (x[:, 0] == 0).all() and (x[:, 3] == 2).all()
    joint = language.law(4)[0, :, :, 2]
    frequency = torch.bincount(3 * x[:, 1] + x[:, 2], minlength=9) / 3000
    torch.testing.assert_close(
        frequency.double(), (joint / joint.sum()).flatten(), atol=0.03, rtol=0
    )
