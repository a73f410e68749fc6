import pytest
import torch
from torch import nn

from codec.jukebox import JukeboxCodec, load_weights
from codec.vqvae import VQVAE, VQVAEConfig, in_pieces
from codec.vqvae_codebook import CodebookEMA, perplexity
from codec.vqvae_loss import Bandwidth, reconstruction_loss
from foundation.codec import Frozen
from foundation.windows import AudioWindow

TINY = VQVAEConfig(emb_width=8, codebook_size=16, width=4, depth=2)


@pytest.fixture
def vqvae() -> VQVAE:
    torch.manual_seed(0)
    net = VQVAE(TINY).eval().requires_grad_(False)
    for level in range(3):
        net.codebook(level).k.normal_(std=0.1)
    return net


@pytest.mark.parametrize("level", [0, 1, 2])
def test_pieces_give_the_codes_and_the_audio_of_the_whole(vqvae, level):
    audio = torch.randn(2, 2, 20_001) * 0.3
    whole = vqvae.encode(audio, level)
    assert whole.shape == (2, -(-20_001 // TINY.hops[level]))
    assert torch.equal(whole, vqvae.encode(audio, level, piece=2048))
    one, many = vqvae.decode(whole, level), vqvae.decode(whole, level, piece=2048)
    torch.testing.assert_close(one, many, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_margin_covers_the_receptive_field(vqvae, level):
    hop, margin = TINY.hops[level], TINY.margin(level)
    length = 4 * margin + hop
    audio = torch.randn(1, 1, length, requires_grad=True)
    middle = vqvae.encoders[level](audio)[..., length // hop // 2].sum()
    (gradient,) = torch.autograd.grad(middle, audio)
    reach = gradient[0, 0].nonzero()
    centre = length // hop // 2 * hop
    assert centre - margin <= int(reach.min()) and int(reach.max()) < centre + hop + margin


def test_in_pieces_keeps_a_ragged_end():
    x = torch.arange(10.0)[None]
    torch.testing.assert_close(in_pieces(lambda y: y * 2, x, 4, 1, 1, 1), x * 2)


def test_codebook_moves_to_the_mean_of_its_vectors(vqvae):
    codebook = vqvae.codebook(0)
    average = CodebookEMA(codebook, decay=0.0, revive_below=0.5)
    vectors = torch.tensor([[1.0] * 8, [3.0] * 8])
    average.update(vectors, torch.tensor([5, 5]))
    torch.testing.assert_close(codebook.k[5], torch.full((8,), 2.0))
    assert average.revive(vectors) == 15
    assert {float(row[0]) > 0.5 for row in codebook.k} == {True}


def test_perplexity_counts_equal_codes():
    torch.testing.assert_close(perplexity(torch.tensor([5.0, 5.0, 0.0, 5.0])), torch.tensor(3.0))


def test_loss_is_zero_for_the_same_audio_and_scale_free():
    audio, other = torch.randn(2, 1, 4096), torch.randn(2, 1, 4096)
    assert reconstruction_loss(audio, audio) < 1e-3
    loud = reconstruction_loss(other, audio, Bandwidth.of(audio))
    quiet = reconstruction_loss(0.1 * other, 0.1 * audio, Bandwidth.of(0.1 * audio))
    torch.testing.assert_close(loud, quiet, rtol=1e-3, atol=1e-3)


def test_embedded_codec_round_trip_and_refusals(tmp_path):
    codec = JukeboxCodec(level=2)
    tokens = codec.encode(torch.zeros(1, 2, 1000))
    assert tokens.shape == (1, 1, 8) and codec.decode(tokens).shape == (1, 1, 1024)
    with pytest.raises(ValueError, match="level must be"):
        JukeboxCodec(level=3)
    with pytest.raises(ValueError, match="tokens must be"):
        codec.decode(torch.tensor([[[4000]]]))
    with pytest.raises(FileNotFoundError):
        JukeboxCodec(path=str(tmp_path / "none.pt"))
    state = codec.vqvae.state_dict()
    state.pop("decoders.2.out.bias")
    torch.save({"model": state}, tmp_path / "short.pth.tar")
    with pytest.raises(ValueError, match=r"1 missing \(decoders.2.out.bias\)"):
        load_weights(VQVAE(), tmp_path / "short.pth.tar")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_latents_are_normalised_codes_and_lead_back_to_the_tokens(level):
    codec = JukeboxCodec(level)
    audio = torch.rand(2, 1, 4096, generator=torch.Generator().manual_seed(0)) - 0.5
    tokens, latents = codec.encode(audio), codec.to_latents(audio)
    assert latents.shape == (2, codec.latent_dim, 4096 // codec.hop) and codec.latent_dim == 64
    every = codec.tokens_to_latents(torch.arange(codec.codebook_size)[None, None])
    torch.testing.assert_close(every.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(every.std(), torch.tensor(1.0))
    sound = codec.decode(tokens)
    torch.testing.assert_close(codec.from_latents(latents), sound)
    torch.testing.assert_close(codec.from_latents(latents + 1e-4), sound)  # the nearest codes


@pytest.mark.parametrize(
    "level, fingerprint",
    [(0, "36164b077cb5d827"), (1, "8c15298ce5699185"), (2, "4ff73533e5dfb31d")],
)
def test_fingerprints_of_the_embedded_weights_stay(level, fingerprint):
    """Token stores and checkpoints that were made earlier name these."""
    assert JukeboxCodec(level).fingerprint == fingerprint


def test_openai_layout_loads(tmp_path):
    state = {f"module.{name}": value for name, value in VQVAE().state_dict().items()}
    torch.save({"model": state, "step": 3}, tmp_path / "vqvae.pth.tar")
    codec = JukeboxCodec(path=str(tmp_path / "vqvae.pth.tar"))
    assert codec.fingerprint != JukeboxCodec().fingerprint


def test_a_frozen_module_is_moved_but_not_saved():
    owner = nn.Module()
    owner.frozen = Frozen(nn.Linear(2, 2))
    owner.to("meta").double()
    weight = owner.frozen.module.weight
    assert weight.is_meta and weight.dtype == torch.float32  # it keeps its precision
    assert not owner.state_dict() and not list(owner.parameters())


def test_window_refuses_what_is_not_aligned():
    with pytest.raises(ValueError, match="multiples of 128"):
        AudioWindow(44100, 1000, align=128)


def test_mixed_precision_around_the_codec_changes_nothing():
    codec = JukeboxCodec(2)
    audio = torch.rand(1, 1, 8192, generator=torch.Generator().manual_seed(0)) - 0.5
    tokens = codec.encode(audio)
    sound = codec.decode(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(codec.encode(audio), tokens)
        assert torch.equal(codec.decode(tokens), sound)
