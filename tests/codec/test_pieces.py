"""Tokens of pieces, put together, are those of the whole."""

import pytest
import torch

from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from codec.wavtokenizer_encoder import MARGIN, Encoder
from foundation import pieces as stacking
from foundation.codec import LATENTS
from foundation.pieces import ahead, pieces


def music(seconds, rate):
    t = torch.arange(round(seconds * rate)) / rate
    noise = torch.randn(len(t), generator=torch.Generator().manual_seed(0))
    return (0.3 * torch.sin(600 * t + 3 * torch.sin(5 * t)) + 0.02 * noise)[None]


def joined(codec, audio, names):
    """Encode in pieces; also return the longest part that was asked for."""
    asked = []

    def read(start, stop):
        assert 0 <= start < stop <= audio.shape[1]
        asked.append(stop - start)
        return audio[:, start:stop]

    parts = list(codec.encode_in_pieces(read, audio.shape[1], names))
    return {name: torch.cat([part[name] for part in parts], -1) for name in names}, max(asked)


@pytest.mark.parametrize("level", [2, 1])
def test_jukebox(level, monkeypatch):
    codec = JukeboxCodec(level)
    monkeypatch.setattr(JukeboxCodec, "piece", 2**14)
    names = codec.stream_names
    audio = music(1.0 if level == 2 else 1.6, codec.sample_rate)
    found, longest = joined(codec, audio, names)
    whole = codec.encode_streams(audio[None], names)
    assert longest < audio.shape[1]
    for name in names:
        assert found[name].shape == whole[name].shape
        assert (found[name] != whole[name]).float().mean() < 1e-3  # codes that are as near


def test_spectral(monkeypatch):
    codec = SpectralCodec()
    monkeypatch.setattr(SpectralCodec, "piece", 256 * codec.hop)
    audio = music(36.5, codec.sample_rate)
    found, longest = joined(codec, audio, (LATENTS,))
    whole = codec.encode_streams(audio[None], (LATENTS,))
    assert longest < audio.shape[1]
    torch.testing.assert_close(found[LATENTS], whole[LATENTS], atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(SpectralCodec, "_analyse", lambda self, audio: audio[..., :: self.hop])
    latents = found[LATENTS].repeat_interleave(codec.hop, -1)[0]
    tokens, _ = joined(codec, latents, ("tokens",))  # the quantiser alone
    whole = codec.encode_streams(latents[None], ("tokens",))
    assert (tokens["tokens"] != whole["tokens"]).float().mean() < 1e-3


@pytest.mark.parametrize("frames", [1, 3, 40, 101])
def test_wavtokenizers_encoder_carries_its_state(frames):
    torch.manual_seed(0)
    encoder = Encoder((2, 4)).eval()
    audio = torch.randn(1, 1, frames * encoder.hop - 3)
    parts = pieces(audio.shape[-1], 10 * encoder.hop, MARGIN * encoder.hop)
    local = []
    for part in parts:
        out = encoder.local_frames(audio[..., part.taken])
        local.append(out[..., part.kept(encoder.hop)])
    with torch.no_grad():
        found = torch.cat(list(encoder.in_stream(local)), dim=-1)
        torch.testing.assert_close(found, encoder(audio), atol=1e-5, rtol=1e-4)


def test_only_pieces_that_are_alike_are_stacked_in_their_order(monkeypatch):
    parts = list(pieces(1003, 100, 20))
    monkeypatch.setattr(stacking, "AT_ONCE", 3 * 140)
    for device, sizes in (("cpu", [1] * 11), ("meta", [1, 3, 3, 2, 1, 1])):
        groups = list(stacking.stacked(parts, torch.device(device)))
        assert [len(group) for group in groups] == sizes
        assert [part for group in groups for part in group] == parts


@pytest.mark.parametrize("kind", [JukeboxCodec, SpectralCodec])
def test_pieces_encoded_at_once_are_those_encoded_one_by_one(kind, monkeypatch):
    codec = kind()
    monkeypatch.setattr(kind, "piece", 8 * codec.hop)
    monkeypatch.setattr(kind, "reach", lambda self, names: 2 * self.hop)
    sizes, encode = [], codec.encode_streams

    def counted(audio, names):
        sizes.append(len(audio))
        return encode(audio, names)

    monkeypatch.setattr(codec, "encode_streams", counted)
    audio, names = music(58 * codec.hop / codec.sample_rate, codec.sample_rate), ("tokens",)
    expected, _ = joined(codec, audio, names)
    assert sizes == [1] * 8
    monkeypatch.setattr(stacking, "pieces_at_once", lambda *_: 4)
    found, _ = joined(codec, audio, names)
    assert sizes[8:] == [1, 4, 2, 1] and torch.equal(found["tokens"], expected["tokens"])


def test_ahead_keeps_the_order_and_passes_errors_on():
    assert [(i, int(x)) for i, x in ahead(torch.tensor, range(5))] == [(i, i) for i in range(5)]

    def fail(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(ahead(fail, range(3)))
