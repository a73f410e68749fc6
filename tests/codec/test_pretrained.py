"""Codecs of transformers and diffusers, as small random models of those classes."""

import copy
import json
import socket
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from codec import pretrained_files
from codec.jukebox import JukeboxCodec
from codec.pretrained import DAC, EnCodec, Mimi, Oobleck, StereoEnCodec, XCodec
from foundation.downloads import no_downloads
from foundation.errors import MissingFileError, UserError
from foundation.weights import read_state, write_state
from jbdiff.latent_transformer import LatentDiT
from jbdiff.module import JBDiff
from jbdiff.samplers import DDIM
from music_diffusion.commands.main import main
from sedd.module import SEDD
from tests.codec import pretrained_models as models

MODELS = {
    "encodec 24": (EnCodec, models.encodec, 24000, 1, 8, 4),
    "encodec 32": (EnCodec, lambda: models.encodec(32000, use_causal_conv=False), 32000, 1, 8, 4),
    "encodec 48": (StereoEnCodec, models.stereo_encodec, 48000, 2, 320, 4),
    "dac 16": (DAC, lambda: models.dac(16000), 16000, 1, 8, 9),
    "dac 24": (DAC, lambda: models.dac(24000, (2, 5)), 24000, 1, 10, 9),
    "dac 44": (DAC, models.dac, 44100, 1, 8, 9),
    "mimi": (Mimi, models.mimi, 24000, 1, 1920, 4),
    "xcodec": (XCodec, models.xcodec, 16000, 1, 320, 4),
    "oobleck": (Oobleck, models.oobleck, 44100, 2, 8, 1),
}
WITH_TOKENS = [name for name in MODELS if name != "oobleck"]
WITH_LATENTS = ["encodec 24", "encodec 32", "dac 16", "dac 24", "dac 44", "oobleck"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrained")
    return {name: models.save(row[1], root / name) for name, row in MODELS.items()}


@pytest.fixture(scope="module")
def codecs(folders):
    return {name: row[0](folders[name]) for name, row in MODELS.items()}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("name", MODELS)
def test_the_format_is_that_of_the_model(codecs, name):
    codec, row = codecs[name], MODELS[name]
    found = codec.sample_rate, codec.channels, codec.hop, codec.num_codebooks
    assert found == row[2:]


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_tokens_are_those_of_the_contract(codecs, name):
    codec = codecs[name]
    for samples in (0, 1, 3 * codec.hop, 3 * codec.hop + 5):
        tokens = codec.encode(noise(2, codec.channels, samples))
        codec.check_encoded(tokens, samples)
        audio = codec.decode(tokens)
        assert audio.shape == (2, codec.channels, tokens.shape[-1] * codec.hop)
        assert audio.isfinite().all() and (audio.abs() <= 1).all()
    assert torch.equal(codec.encode(noise(2, codec.channels, samples)), tokens)
    assert len(tokens.unique()) > 2


@pytest.mark.parametrize("name", WITH_LATENTS)
def test_latents_are_those_of_the_contract(codecs, name):
    codec = codecs[name]
    for samples in (0, 1, 3 * codec.hop + 5):
        latents = codec.to_latents(noise(2, 1, samples))
        codec.check_encoded(latents, samples, "latents")
        audio = codec.from_latents(latents)
        assert audio.shape == (2, codec.channels, latents.shape[-1] * codec.hop)
    assert audio.std() > 0


@pytest.mark.parametrize("name", ["encodec 24", "dac 44", "mimi", "xcodec"])
def test_tokens_and_audio_are_those_of_the_library(codecs, name):
    codec = codecs[name]
    audio = noise(1, 1, 5 * codec.hop)
    with torch.no_grad():
        theirs = codec.model.encode(audio).audio_codes.reshape(1, codec.num_codebooks, -1)
        shaped = theirs[None] if name == "encodec 24" else theirs
        extra = {"audio_scales": [None]} if name == "encodec 24" else {}
        decoded = codec.model.decode(audio_codes=shaped, **extra).audio_values
    tokens = codec.encode(audio)
    assert torch.equal(tokens, theirs)
    torch.testing.assert_close(codec.decode(tokens), decoded.reshape(1, 1, -1).clamp(-1, 1))


def test_oobleck_latents_are_means(codecs):
    codec, audio = codecs["oobleck"], noise(1, 2, 80)
    with torch.no_grad():
        posterior = codec.model.encode(audio).latent_dist
        decoded = codec.model.decode(posterior.mean).sample.clamp(-1, 1)
    torch.testing.assert_close(codec.to_latents(audio), posterior.mean)
    torch.testing.assert_close(codec.from_latents(posterior.mean), decoded)
    for refused in (codec.encode, codec.decode):
        with pytest.raises(UserError, match="latents alone"):
            refused(audio)


@pytest.mark.parametrize("name", ["encodec 24", "dac 44"])
def test_tokens_and_latents_agree(codecs, name):
    codec, audio = codecs[name], noise(2, 1, 80)
    tokens = codec.encode(audio)
    assert torch.equal(codec.latents_to_tokens(codec.to_latents(audio)), tokens)
    rounded = codec.tokens_to_latents(tokens)
    torch.testing.assert_close(codec.from_latents(rounded), codec.decode(tokens))
    assert codec.code_vectors().shape == (codec.num_codebooks, 16, codec.latent_dim)


@pytest.mark.parametrize("name", ["dac 44", "oobleck", "encodec 24"])
def test_pieces_equal_the_whole(folders, codecs, name, monkeypatch):
    """Exact for convolutions; the recurrent layers of EnCodec forget in their margin."""
    codec, (stream, *_) = codecs[name], codecs[name].stream_names
    audio = noise(1, codec.channels, 2003)
    whole = codec.encode_streams(audio, (stream,))[stream]
    back = codec.decode(whole) if stream == "tokens" else codec.from_latents(whole)
    for attribute, positions in (("piece_seconds", 60), ("margin_seconds", 40)):
        monkeypatch.setattr(codec, attribute, positions * codec.hop / codec.sample_rate)
    read = audio[0]
    parts = list(codec.encode_in_pieces(lambda a, b: read[:, a:b], 2003, (stream,)))
    assert len(parts) > 2
    joined = torch.cat([part[stream] for part in parts], -1)
    torch.testing.assert_close(codec.encode_streams(audio, (stream,))[stream], joined)
    torch.testing.assert_close(joined, whole, atol=1e-4, rtol=1e-3)
    again = codec.decode(whole) if stream == "tokens" else codec.from_latents(whole)
    torch.testing.assert_close(again, back, atol=1e-4, rtol=1e-3)


def test_stereo_encodec_holds_the_loudness_of_each_second(codecs):
    codec = codecs["encodec 48"]
    audio = noise(1, 2, 3 * 48000)
    audio[..., 48000:96000] /= 100
    audio[..., 96000:] = 0
    seconds = codec.encode(audio).unflatten(-1, (3, 150))
    loud, quiet, silent = seconds[0, 0].unbind(0)
    step = codec.range_db / 15
    assert (loud == loud[0]).all() and abs(int(loud[0] - quiet[0]) * step - 40) <= step
    assert (silent == 0).all()
    assert torch.equal(seconds[0, 1:, 0], seconds[0, 1:, 0])
    back = codec.decode(codec.encode(audio)).unflatten(-1, (3, 48000))
    assert back[:, :, 0].std() > 20 * back[:, :, 1].std() > 20 * back[:, :, 2].std()
    assert torch.equal(codec.encode(audio[..., :48000]), codec.encode(audio)[..., :150])


def test_mono_is_repeated_and_stereo_mixed_down(codecs):
    stereo = noise(1, 2, 80)
    mixed = stereo.mean(1, keepdim=True)
    assert torch.equal(codecs["dac 44"].encode(stereo), codecs["dac 44"].encode(mixed))
    repeated = mixed.repeat(1, 2, 1)
    assert torch.equal(codecs["oobleck"].to_latents(mixed), codecs["oobleck"].to_latents(repeated))
    with pytest.raises(UserError, match="batch, channels, samples"):
        codecs["dac 44"].encode(stereo[0])


def test_the_first_codebooks_are_a_prefix(folders, codecs):
    audio = noise(1, 2, 700)
    for name in WITH_TOKENS:
        short = MODELS[name][0](folders[name], num_codebooks=3)
        tokens = short.encode(audio)
        assert torch.equal(tokens, codecs[name].encode(audio)[:, :3])
        assert short.decode(tokens).isfinite().all()
        assert short.fingerprint != codecs[name].fingerprint
    for count, name in ((10, "dac 44"), (0, "dac 44"), (1, "encodec 48")):
        with pytest.raises(UserError, match="num_codebooks must be"):
            MODELS[name][0](folders[name], num_codebooks=count)


def test_the_fingerprint_is_of_weights_and_settings(folders, codecs, tmp_path):
    prints = {name: codec.fingerprint for name, codec in codecs.items()}
    assert len(set(prints.values())) == len(prints)
    assert DAC(folders["dac 44"]).fingerprint == prints["dac 44"]
    assert DAC(models.save(models.dac, tmp_path, 1)).fingerprint != prints["dac 44"]
    settings = json.loads((tmp_path / "config.json").read_text())
    before = DAC(str(tmp_path)).fingerprint
    (tmp_path / "config.json").write_text(json.dumps(settings | {"transformers_version": "9"}))
    assert DAC(str(tmp_path)).fingerprint == before
    (tmp_path / "config.json").write_text(json.dumps(settings | {"sampling_rate": 16000}))
    assert DAC(str(tmp_path)).fingerprint != before


@pytest.mark.parametrize(
    ("codec", "build", "message"),
    [
        (EnCodec, models.stereo_encodec, "48000 Hz and 2 channels, EnCodec takes 24000 Hz of 1"),
        (StereoEnCodec, models.encodec, "24000 Hz and 1 channels"),
        (DAC, lambda: models.dac(22050), "22050 Hz and 1 channels, DAC takes 16000"),
        (Oobleck, lambda: models.oobleck(1), "44100 Hz and 1 channels"),
        (Mimi, models.dac, "holds a model of type dac, expected mimi"),
    ],
)
def test_other_rates_channels_and_models_are_refused(tmp_path, codec, build, message):
    folder = models.save(build, tmp_path)
    with pytest.raises(UserError, match=message):
        codec(folder)


def test_settings_with_a_codec_can_be_copied(folders):
    fresh = Oobleck(folders["oobleck"])  # whose old weight norm can't be, before its first use
    assert copy.deepcopy({"codec": fresh})["codec"] is fresh


def test_a_local_folder_never_touches_the_network(folders, no_network):
    for name, row in MODELS.items():
        row[0](folders[name])


def test_a_folder_that_is_incomplete_is_refused(folders, tmp_path):
    with pytest.raises(MissingFileError, match="no config.json"):
        DAC(str(tmp_path / "nothing"))
    for paths in ({}, {"path": "x", "hub": "a/b"}):
        with pytest.raises(UserError, match="one of the two"):
            DAC(**paths)
    folder = Path(models.save(models.dac, tmp_path))
    state = read_state(folder / "model.safetensors")
    state.pop("decoder.conv1.weight")
    write_state(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 weights of DacModel: decoder.conv1.weight"):
        DAC(str(folder))
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="can't be loaded as DacModel"):
        DAC(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingFileError, match="no model.safetensors"):
        DAC(str(folder))


@pytest.fixture
def hub(folders, monkeypatch):
    """A hub that has one model, which must be downloaded first; the calls are recorded."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    calls = []

    def snapshot_download(name, *, revision, allow_patterns, local_files_only):
        calls.append((name, revision, allow_patterns, local_files_only))
        if all(call[3] for call in calls):
            raise LocalEntryNotFoundError("not in the cache\nmore")
        return folders["dac 44"]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_a_name_is_downloaded_once(hub, codecs):
    assert DAC(hub="lab/dac@v2").fingerprint == codecs["dac 44"].fingerprint
    DAC(hub="lab/dac@v2")
    files = ["config.json", "model.safetensors"]
    assert hub == [("lab/dac", "v2", files, cached) for cached in (True, False, True)]


def test_a_name_in_a_file_is_not_downloaded(hub):
    with no_downloads(), pytest.raises(MissingFileError, match="hf download lab/dac config.json"):
        DAC(hub="lab/dac")
    assert [call[3] for call in hub] == [True]


def test_offline_is_one_line(monkeypatch, tmp_path, no_network):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingFileError, match="lab/dac can't be downloaded") as error:
        DAC(hub="lab/dac")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="OWNER/NAME"):
        DAC(hub="not a/name/at all")


def test_a_missing_package_is_named(monkeypatch, folders):
    def refuse(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(pretrained_files, "import_module", refuse)
    with pytest.raises(UserError, match="pip install 'transformers>=.*the extra `codecs`"):
        DAC(folders["dac 44"])


def fit(music: Path, *options: str) -> int:
    args = [
        "fit",
        "--data.audio",
        str(music),
        "--data.batch_size=2",
        "--data.num_workers=0",
        "--trainer.fast_dev_run=1",
    ]
    return main([*args, "--trainer.accelerator=cpu", *options])


def test_sedd_trains_on_the_nine_codebooks_of_a_dac(command_line, folders, music):
    small = ["hidden_size=16", "num_blocks=1", "num_heads=2", "cond_dim=8"]
    codec = ["--model.codec=codec.pretrained.DAC", f"--model.codec.path={folders['dac 44']}"]
    net = [f"--model.net.{option}" for option in small]
    options = ["--config=configs/sedd_absorb.yaml", *codec, *net, "--model.length=32"]
    assert fit(music, *options, "--model.start_from_codebooks=true") == 0


def test_level_3_trains_on_the_latents_of_oobleck(command_line, folders, music):
    small = ["channels=4", "hidden_size=16", "num_blocks=1", "num_heads=2", "cond_dim=8"]
    codec = ["--model.codec=codec.pretrained.Oobleck", f"--model.codec.path={folders['oobleck']}"]
    net = [f"--model.net.{option}" for option in [*small, "near=4", "patch=2"]]
    net = ["--model.net=jbdiff.latent_transformer.LatentDiT", *net]
    options = [
        "--model.jb_level=3",
        *codec,
        *net,
        "--model.base_tokens=16",
    ]
    assert fit(music, *options) == 0


def test_a_level_3_of_oobleck_generates_and_continues_stereo(codecs):
    sizes = {"hidden_size": 16, "num_blocks": 1, "num_heads": 2, "cond_dim": 8}
    net = partial(LatentDiT, channels=4, **sizes, near=4, patch=2)
    model = JBDiff(3, codec=codecs["oobleck"], net=net, base_tokens=256, sampler=DDIM(2)).eval()
    made = model.generate(0.1, count=2)
    assert made.shape == (2, 2, 4410) and made.isfinite().all()
    prompt = noise(2, 3000)
    longer = model.generate(0.05, prompt=prompt)
    assert longer.shape == (1, 2, 3000 + 2205)
    assert torch.equal(longer[0, :, :1000], prompt[:, :1000])


def test_a_level_2_refines_a_codec_of_its_rate_alone(codecs):
    over = JukeboxCodec(2, coarser=codecs["oobleck"])
    audio = noise(1, 2, 4000)
    assert over.round_trip(audio).shape == (1, 1, 32)
    assert over.reach(("round_trip",)) > codecs["oobleck"].reach(("latents",)) == 44104
    with pytest.raises(UserError, match="a codec of 44100 Hz, this DAC is of 24000"):
        JukeboxCodec(2, coarser=codecs["dac 24"])


def test_sedd_says_that_oobleck_has_no_tokens(codecs):
    with pytest.raises(UserError, match="Oobleck has the streams .'latents',., not .'tokens'."):
        SEDD(codecs["oobleck"])
