"""The spectral codec at tiny sizes, and its training."""

import math
from dataclasses import asdict, replace

import pytest
import torch

from audio import files as audio_files
from codec import spectral
from codec.spectral import SpectralCodec, SpectralWeights
from codec.spectral_augment import SpectralAugment, stretched
from codec.spectral_loss import SpectralLoss
from codec.spectral_module import SpectralModule
from codec.spectral_network import SpectralConfig, pair, unpair
from codec.spectral_quantiser import PredictiveQuantiser
from codec.spectral_start import k_means, principal_axes, start
from foundation.errors import UserError
from foundation.weights import write_state
from music_diffusion.commands.main import main

TINY = SpectralConfig(
    sample_rate=44100,
    frame_size=512,
    frame_hop=128,
    per_octave=6,
    latent_dim=12,
    encoder_width=8,
    encoder_blocks=1,
    decoder_width=8,
    decoder_blocks=1,
    frame_width=8,
    num_codebooks=3,
    codebook_size=16,
)


def tones(count: int, length: int) -> torch.Tensor:
    """Sines of several pitches, starting at several times: [B, 1, T]."""
    t = torch.arange(length) / 44100
    rows = [0.3 * torch.sin(2 * math.pi * 300 * (i + 1) * t) * (t > i * 0.01) for i in range(count)]
    return torch.stack(rows)[:, None]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Weights after PCA, k-means and a little noise in what else is learned."""
    torch.manual_seed(0)
    weights = SpectralWeights(TINY)
    music = TINY.frames.magnitudes(tones(6, 25600)[:, 0])
    start(weights.network, weights.quantiser, [music], torch.Generator().manual_seed(0))
    for parameter in weights.network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    weights.shift.normal_()
    weights.scale.uniform_(0.5, 2)
    file = tmp_path_factory.mktemp("codec") / "tiny.safetensors"
    write_state(weights.state_dict(), file)
    return str(file)


@pytest.fixture(scope="module")
def codec(path):
    return SpectralCodec(path, iterations=4, config=TINY)


def test_shapes_are_those_of_the_contract(codec):
    audio = tones(2, 5 * 256 + 7)
    tokens, latents = codec.encode(audio), codec.to_latents(audio)
    assert tokens.shape == (2, 3, 6) and tokens.dtype == torch.int64
    assert latents.shape == (2, 12, 6)
    for output in (codec.decode(tokens), codec.from_latents(latents)):
        assert output.shape == (2, 1, 6 * 256)
        assert output.isfinite().all() and output.abs().max() <= 1
    assert codec.decode(tokens[..., :0]).shape == (2, 1, 0)


def test_stereo_is_mixed_down(codec):
    audio = torch.cat([tones(1, 2560), torch.zeros(1, 1, 2560)], dim=1)
    torch.testing.assert_close(codec.to_latents(audio), codec.to_latents(audio[:, :1] / 2))


def test_pieces_equal_the_whole(codec, monkeypatch):
    audio = tones(2, 200 * 256)
    latents = codec.to_latents(audio)
    output = codec.from_latents(latents)
    monkeypatch.setattr(spectral, "PIECE", 60)
    torch.testing.assert_close(codec.to_latents(audio), latents, atol=1e-4, rtol=0)
    torch.testing.assert_close(codec.from_latents(latents), output, atol=1e-3, rtol=0)


def test_tokens_and_latents_of_a_segment_agree(codec):
    audio = tones(2, 2560)
    tokens = codec.encode(audio)
    assert torch.equal(codec.latents_to_tokens(codec.to_latents(audio)), tokens)
    rounded = codec.tokens_to_latents(tokens)
    torch.testing.assert_close(codec.from_latents(rounded), codec.decode(tokens))


def test_segments_of_a_long_piece_lose_little(codec):
    """Quantised side by side or one after the other, the error is about the same."""
    latents = codec._analyse(tones(1, 400 * 256))
    look_up, encode = codec.weights.quantiser.decode, codec.weights.quantiser.encode
    beside = look_up(codec.latents_to_tokens(codec.normalise(latents)))
    after = look_up(encode(latents))
    assert beside.shape == latents.shape
    assert (beside - latents).norm() < 1.1 * (after - latents).norm()


def test_latents_do_not_depend_on_phase(codec):
    """A note that begins a little later has nearly the same latents; its waveform has not."""
    t = torch.arange(25600) / 44100
    notes = torch.stack([torch.sin(2 * math.pi * 1000 * t + turn) for turn in (0.0, 1.5)])[:, None]
    latents = codec.denormalise(codec.to_latents(0.3 * notes))[..., 4:-4]
    apart = (latents[0] - latents[1]).norm() / latents[0].norm()
    assert apart < 0.05


def test_a_prefix_of_the_codebooks_decodes(path, codec):
    tokens = codec.encode(tones(2, 2560))
    short = SpectralCodec(path, num_codebooks=2, config=TINY)
    assert short.encode(tones(2, 2560)).shape == (2, 2, 10)
    prefix = codec.weights.quantiser.decode(tokens[:, :2])
    torch.testing.assert_close(short.tokens_to_latents(tokens[:, :2]), codec.normalise(prefix))
    with pytest.raises(UserError, match="batch, 2, length"):
        short.decode(tokens)
    with pytest.raises(UserError, match="1 to 3, got 4"):
        SpectralCodec(path, num_codebooks=4, config=TINY)


def test_fingerprint_changes_with_the_weights(path, codec, tmp_path):
    assert SpectralCodec(path, iterations=9, config=TINY).fingerprint == codec.fingerprint
    assert SpectralCodec(path, num_codebooks=2, config=TINY).fingerprint != codec.fingerprint
    state = codec.weights.state_dict()
    state["quantiser.stages.0.k"] = state["quantiser.stages.0.k"] + 1e-3
    write_state(state, tmp_path / "other.safetensors")
    other = SpectralCodec(str(tmp_path / "other.safetensors"), config=TINY)
    assert other.fingerprint != codec.fingerprint


def test_other_weights_are_refused_by_name(path, codec, tmp_path):
    state = codec.weights.state_dict()
    del state["shift"]
    write_state(state, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match=r"less.safetensors .* 1 missing \(shift\)"):
        SpectralCodec(str(tmp_path / "less.safetensors"), config=TINY)
    with pytest.raises(UserError, match="of another shape"):
        SpectralCodec(path, config=replace(TINY, frame_width=9))
    with pytest.raises(FileNotFoundError, match="nothing.safetensors"):
        SpectralCodec(str(tmp_path / "nothing.safetensors"), config=TINY)


def test_a_wrong_number_of_channels_is_refused(codec):
    with pytest.raises(UserError, match=r"\[batch, 12, length\]"):
        codec.from_latents(torch.zeros(1, 11, 4))


def test_pairs_come_apart_again():
    frames = torch.randn(2, 5, 8)
    assert torch.equal(unpair(pair(frames)), frames)
    assert torch.equal(pair(frames)[:, :5, 0], frames[..., 0])
    assert torch.equal(pair(frames)[:, 5:, 0], frames[..., 1])


def quantiser(leak: float) -> PredictiveQuantiser:
    made = PredictiveQuantiser(4, 32, 6)
    made.leak.fill_(leak)
    generator = torch.Generator().manual_seed(0)
    for k, stage in enumerate(made.codebooks):
        stage.k.copy_(torch.randn(32, 6, generator=generator) * 0.6**k)
    return made


def slow(count: int = 4, length: int = 100) -> torch.Tensor:
    """A slow random walk [B, 6, L]: its neighbours correlate by 0.95."""
    x, rows = torch.zeros(count, 6), []
    generator = torch.Generator().manual_seed(1)
    for _ in range(length):
        x = 0.95 * x + 0.31 * torch.randn(count, 6, generator=generator)
        rows.append(x)
    return torch.stack(rows, -1)


def test_each_codebook_and_prediction_lower_the_error():
    latents = slow()
    errors = []
    for depth in (1, 2, 3, 4):
        codes = quantiser(0.7).encode(latents)
        errors.append(float((quantiser(0.7).decode(codes[:, :depth]) - latents).square().mean()))
    assert errors == sorted(errors, reverse=True)
    plain = quantiser(0.0)
    without = float((plain.decode(plain.encode(latents)) - latents).square().mean())
    assert errors[-1] < without


def test_a_beam_is_nearer_than_rounding_at_each_stage():
    made, latents = quantiser(0.7), slow()

    def error(codes: torch.Tensor) -> float:
        return float((made.decode(codes) - latents).square().mean())

    rounded, _ = made.quantise(latents)
    assert torch.equal(made.encode(latents, beam=1), rounded)
    assert error(made.encode(latents, beam=8)) < error(rounded)
    assert made.encode(latents, depth=2).shape == (4, 2, 100)


def test_depths_of_items_are_those_of_prefixes():
    made, codes = quantiser(0.7), torch.randint(32, (3, 4, 10))
    mixed = made.decode_to(codes, torch.tensor([1, 2, 4]))
    for item, depth in enumerate((1, 2, 4)):
        alone = made.decode(codes[item : item + 1, :depth])
        torch.testing.assert_close(mixed[item : item + 1], alone)


def test_a_wrong_code_fades():
    made, codes = quantiser(0.7), torch.randint(32, (1, 4, 40))
    wrong = codes.clone()
    wrong[0, 0, 0] = (wrong[0, 0, 0] + 1) % 32
    apart = (made.decode(codes) - made.decode(wrong)).abs().amax(1)[0]
    torch.testing.assert_close(apart[10] / apart[0], torch.tensor(0.7**10), atol=1e-4, rtol=1e-2)


def test_k_means_finds_clusters_and_pca_the_axes():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = centres.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=generator)
    found = k_means(vectors, 3, rounds=20, generator=generator)
    assert torch.cdist(centres, found).min(1).values.max() < 0.2 or len(found) == 3
    _, axes = principal_axes(torch.randn(500, 3) * torch.tensor([1.0, 5.0, 0.1]), 2)
    assert axes[0].abs().argmax() == 1 and axes[1].abs().argmax() == 0
    assert len(k_means(vectors[:2], 5)) == 5


def test_the_start_reconstructs_the_bands():
    weights = SpectralWeights(replace(TINY, latent_dim=2 * TINY.num_bands))
    music = TINY.frames.magnitudes(tones(6, 25600)[:, 0])
    start(weights.network, weights.quantiser, [music], torch.Generator().manual_seed(0))
    bands = pair(weights.network.bands(music))
    latents = weights.network.encode(music)
    again = weights.network.decoder.principal @ latents + weights.network.mean[:, None]
    torch.testing.assert_close(again, bands, atol=1e-3, rtol=1e-3)


def test_the_loss_is_least_at_the_truth_and_its_gradient_finite():
    loss, magnitudes = SpectralLoss(TINY), TINY.frames.magnitudes(tones(3, 5120)[:, 0])
    true = (magnitudes + TINY.floor).log()
    assert loss(true, magnitudes).max() < 1e-3
    off = (true + 0.3 * torch.randn_like(true)).requires_grad_()
    assert (loss(off, magnitudes) > loss(true, magnitudes)).all()
    loss(off, torch.zeros_like(magnitudes)).sum().backward()
    assert off.grad is not None and off.grad.isfinite().all()


def test_pitch_moves_peaks_by_the_ratio():
    magnitudes = torch.zeros(2, 100, 3)
    magnitudes[:, 40] = 1
    moved = stretched(magnitudes, torch.tensor([1.25, 0.5]))
    assert moved[0, :, 0].argmax() == 50 and moved[1, :, 0].argmax() == 20
    assert stretched(magnitudes, torch.ones(2)).equal(magnitudes)


def test_augmented_music_is_finite_also_where_there_is_silence():
    augment = SpectralAugment()
    audio = torch.cat([tones(2, 5120)[:, 0], torch.zeros(1, 5120)])
    magnitudes = TINY.frames.magnitudes(augment.audio(audio))
    changed = augment.magnitudes(magnitudes)
    assert changed.shape == magnitudes.shape and changed.isfinite().all() and (changed >= 0).all()


def test_training_runs_from_pca_and_its_checkpoint_is_a_codec(command_line, tmp_path):
    for i, audio in enumerate(tones(4, 44100)):
        audio_files.write(tmp_path / "music" / f"{i}.wav", audio, 44100)
    options = [f"--model.config.{name}={value}" for name, value in asdict(TINY).items()]
    options += ["--model.length=10240", "--model.val_length=20480", "--model.start_batches=2"]
    options += ["--data.audio", str(tmp_path / "music"), "--data.batch_size=2"]
    options += ["--trainer.max_steps=3", "--trainer.val_check_interval=3"]
    options += ["--trainer.logger=false", "--trainer.accelerator=cpu"]
    options += [f"--trainer.default_root_dir={tmp_path / 'run'}"]
    assert main(["fit", "--config", "configs/spectral.yaml", *options]) == 0
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert (tmp_path / "run" / "demos" / "step_00000003" / "sample_0.wav").is_file()
    codec = SpectralCodec(str(file), config=TINY)
    assert codec.encode(tones(1, 2560)).shape == (1, 3, 10)
    trained = SpectralModule.load_from_checkpoint(file)
    assert trained.config == TINY and trained.started
    assert trained.weights.network.encoder.principal.any()
    assert all(parameter.isfinite().all() for parameter in trained.parameters())


def test_a_demo_is_three_clips_of_one_length():
    batch = {"audio": tones(3, 5000)}
    module = SpectralModule(config=TINY)
    clips = module.demo(batch, 2, 4000, torch.Generator())
    assert set(clips) == {"real", "latents", "sample"}
    assert all(audio.shape == (2, 1, 3840) for audio in clips.values())
