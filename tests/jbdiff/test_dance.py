"""Dance Diffusion: its network, its samplers, and training through the Trainer."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer

from audio import files as audio
from callbacks.batch_seed import BatchSeed
from callbacks.checkpoint import StepCheckpoint
from callbacks.ema import EMA
from datamodules.wav import WavDataModule
from foundation.errors import UserError
from foundation.sampler import Sampler
from jbdiff.dance import DiffusionAttnUnet1D, Downsample, Upsample
from jbdiff.dance_module import Dance
from jbdiff.dance_sampling import sine_time, sine_times
from jbdiff.samplers import DDIM, IPLMS, sample_from
from jbdiff.vdiffusion import alpha_sigma
from music_diffusion.checkpoints.load import load_model
from music_diffusion.commands import main as cli

pytestmark = pytest.mark.usefixtures("command_line")

NET = partial(DiffusionAttnUnet1D, depth=3, n_attn_layers=1, c_mults=[32, 32, 32])


def gaussian_v(x, t):
    """The exact velocity for data of a normal distribution of standard deviation 0.5."""
    alpha, sigma = alpha_sigma(t[:, None, None])
    clean = alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * x
    return (alpha * x - clean) / sigma


def gaussian_solution(x, t):
    """Where the exact flow takes x at time t down to time 0."""
    alpha, sigma = alpha_sigma(torch.as_tensor(t))
    return x * 0.5 / (0.25 * alpha**2 + sigma**2).sqrt()


def test_times_rise_from_0_to_1_with_sigma_of_sine_squared():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    warped = sine_time(t)
    assert warped[0] == 0 and warped[-1] == 1 and (warped.diff() > 0).all()
    torch.testing.assert_close(alpha_sigma(warped)[1], torch.sin(math.pi / 2 * t) ** 2)


@pytest.mark.parametrize("sampler, order", [(DDIM(), 1), (IPLMS(), 2)])
def test_samplers_converge_to_the_exact_flow(sampler, order):
    x = torch.randn(2, 1, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = []
    for steps in (40, 80):
        times = sine_time(torch.linspace(0, 0.9, steps + 1, dtype=torch.float64)).flip(0)
        made = sampler.sample(gaussian_v, x, times[:-1])
        wanted = gaussian_solution(x, times[0])
        errors.append((made - wanted).abs().max().item())
    assert errors[1] < errors[0] / 2**order * 1.3 and errors[1] < 0.03


def test_iplms_starts_at_pure_noise_without_dividing_by_zero():
    x = torch.randn(1, 1, 50)
    made = sample_from(gaussian_v, x, IPLMS(50), sine_times)
    torch.testing.assert_close(made, 0.5 * x, atol=0.02, rtol=0)


def test_eta_adds_noise_and_keeps_the_distribution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 40_000, generator=generator)
    plain = sample_from(gaussian_v, x, DDIM(200), sine_times)
    fresh = sample_from(gaussian_v, x, DDIM(200, eta=1.0), sine_times, generator=generator)
    assert float(plain.std()) == pytest.approx(0.5, abs=0.02)
    assert float(fresh.std()) == pytest.approx(0.5, abs=0.02)
    assert abs(float((plain * fresh).mean())) < 0.01 < float((plain * x).mean())


@pytest.mark.parametrize("sampler", [DDIM(40), IPLMS(40)])
def test_refining_keeps_more_with_more_strength(sampler):
    sound, noise = torch.randn(2, 1, 2, 64)
    distances = [
        (sample_from(gaussian_v, noise, sampler, sine_times, 0.5 * sound, s) - 0.5 * sound).std()
        for s in (0.1, 0.5, 0.9, 1.0)
    ]
    assert distances == sorted(distances, reverse=True) and distances[-1] == 0


def test_refining_calls_the_network_once_a_time():
    calls = []
    zeros = torch.zeros(1, 2, 8)
    v_fn = lambda x, t: calls.append(t) or x  # noqa: E731
    sample_from(v_fn, zeros, DDIM(150), sine_times, zeros, 0.23)
    assert len(calls) == len(sine_times(150, 0.23)) == 125  # the original's figure
    assert max(calls) < 0.77


@pytest.mark.parametrize("steps, strength", [(0, 0.5), (4, 1.5)])
def test_times_that_make_no_sense_are_refused(steps, strength):
    with pytest.raises(UserError, match="must be"):
        sine_times(steps, strength)


def test_resampling_keeps_a_slow_wave():
    wave = torch.sin(torch.arange(512) * 2 * math.pi / 64)[None, None].expand(2, 3, -1)
    back = Upsample()(Downsample()(wave))
    assert back.shape == wave.shape
    torch.testing.assert_close(back[..., 8:-8], wave[..., 8:-8], atol=0.02, rtol=0)


def test_only_lengths_that_can_be_halved_are_taken():
    net = NET()
    assert net(torch.randn(1, 2, net.min_length), torch.rand(1)).shape == (1, 2, 12)
    for length in (net.min_length - 4, net.min_length + 1):
        with pytest.raises(UserError, match="takes a multiple of 4 positions, at least 12, got"):
            net(torch.randn(1, 2, length), torch.rand(1))
    with pytest.raises(UserError, match="takes a multiple of 4 positions"):
        Dance(NET, length=1001)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": 3, "c_mults": [32, 32]}, "must list 3 widths"),
        ({"depth": 3, "n_attn_layers": 3, "c_mults": [32] * 3}, "must be 0 to 2"),
        ({"depth": 3, "n_attn_layers": 1, "c_mults": [32, 40, 32]}, "widths that 32 divides"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DiffusionAttnUnet1D(**options)


def fixed_loss(model: Dance, batch: dict, batch_idx: int) -> torch.Tensor:
    model._trainer = type("Alone", (), {"world_size": 1, "global_rank": 0})()
    return model.fixed_loss(batch, batch_idx)


class Other(Sampler):
    """A sampler of another family."""


def module() -> Dance:
    torch.manual_seed(0)
    return Dance(NET, length=256, sample_rate=8000, learning_rate=1e-3, sampler=DDIM(3))


@pytest.fixture
def stereo(tmp_path):
    for i in range(3):
        noise = torch.rand(2, 9000, generator=torch.Generator().manual_seed(i)) - 0.5
        audio.write(tmp_path / "stereo" / f"{i}.wav", noise.cumsum(1) / 100, 8000)
    return str(tmp_path / "stereo")


def fit(root, folder: str, steps: int, path: str | None = None) -> Dance:
    model = module()
    trainer = Trainer(
        default_root_dir=root,
        max_steps=steps,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        val_check_interval=5,
        check_val_every_n_epoch=None,
        callbacks=[BatchSeed(), EMA(0.9), StepCheckpoint(every_n_steps=10)],
    )
    data = WavDataModule(folder, batch_size=4, phase_invert=0.5, windows_per_epoch=64)
    trainer.fit(model, data, ckpt_path=path, weights_only=False)
    return model


def test_it_learns_and_twenty_steps_equal_ten_and_ten_more(tmp_path, stereo):
    straight = fit(tmp_path / "a", stereo, 20)
    fit(tmp_path / "b", stereo, 10)
    resumed = fit(tmp_path / "b", stereo, 20, str(tmp_path / "b/checkpoints/step_00000010.ckpt"))
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    batch = {"audio": audio.read(f"{stereo}/0.wav")[None, :, :256].expand(8, -1, -1)}
    with torch.no_grad():
        losses = [float(fixed_loss(m, batch, 0)) for m in (module(), straight)]
    assert losses[1] < losses[0]


def test_the_fixed_loss_is_the_same_each_time():
    model, batch = module(), {"audio": torch.randn(4, 2, 256)}
    assert fixed_loss(model, batch, 3) == fixed_loss(model, batch, 3)
    assert fixed_loss(model, batch, 3) != fixed_loss(model, batch, 4)


def test_times_are_one_from_each_slice_of_the_global_batch():
    model, found = module(), []
    for rank in range(2):
        known = {"world_size": 2, "global_rank": rank, "accumulate_grad_batches": 2}
        model._trainer = type("Ranks", (), known)()
        found += [model.stratified_times(4, batch_idx) for batch_idx in (6, 7)]
    slices = (torch.cat(found) * 16).long().sort().values
    assert slices.tolist() == list(range(16))


def test_a_demo_has_samples_refined_and_real_audio():
    model = module()
    batch = {"audio": torch.randn(4, 2, 256)}
    demos = [model.demo(batch, 2, 8000, torch.Generator().manual_seed(1)) for _ in range(2)]
    for name, clip in demos[0].items():
        assert clip.shape == (2, 2, 256) and clip.isfinite().all()
        assert torch.equal(clip, demos[1][name])
    assert demos[0].keys() == {"sample", "refined", "real"}


def test_the_average_of_a_published_file_is_taken():
    ours, theirs = module(), NET()
    state = {f"diffusion.{name}": torch.zeros_like(v) for name, v in theirs.state_dict().items()}
    state |= {f"diffusion_ema.{name}": value for name, value in theirs.state_dict().items()}
    checkpoint = {"state_dict": state}
    ours.on_load_checkpoint(checkpoint)
    ours.load_state_dict(checkpoint["state_dict"])
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.diffusion.state_dict()[name], value)


def test_weights_of_another_model_are_refused():
    other = Dance(partial(NET, depth=4, c_mults=[32] * 4), length=256)
    checkpoint = {"state_dict": {f"{name}": value for name, value in other.state_dict().items()}}
    with pytest.raises(ValueError, match="the checkpoint holds another model than this one"):
        module().on_load_checkpoint(checkpoint)


def test_configs_train_a_step_and_the_checkpoint_is_enough(music, tmp_path, capsys):
    options = ["--config", "configs/dance.yaml", "--config", "configs/dance_tiny.yaml"]
    options += ["--data.audio", str(music), "--model.length=2048", "--trainer.logger=false"]
    options += ["--model.net.depth=3", "--model.net.c_mults=[32,32,32]", "--data.batch_size=2"]
    options += ["--trainer.max_steps=1", f"--trainer.default_root_dir={tmp_path}"]
    options += ["--model.sampler.steps=2", "--trainer.accelerator=cpu"]
    assert cli.main(["fit", *options]) == 0, capsys.readouterr().err
    loaded = load_model(tmp_path / "checkpoints" / "last.ckpt", "cpu")
    assert isinstance(loaded, Dance) and loaded.window.length == 2048
    assert loaded.sampler == DDIM(2)
    made = loaded.generate(init=torch.zeros(1, 2000), sampler=DDIM(4))
    assert made.shape == (1, 2, 2000)


def test_a_window_that_can_not_be_halved_is_one_line(music, capsys):
    options = ["--config", "configs/dance.yaml", "--config", "configs/dance_tiny.yaml"]
    assert cli.main(["fit", *options, "--data.audio", str(music), "--model.length=10000"]) == 2
    assert "takes a multiple of 512 positions, at least 1536, got 10000" in capsys.readouterr().err


def test_clips_have_seeds_of_their_own():
    model = module()
    both, second = model.generate(count=2, seed=3), model.generate(seed=4)
    torch.testing.assert_close(both[1:], second)
    assert both.shape == (2, 2, 256) and not torch.equal(both[0], both[1])
    noisy = DDIM(3, eta=1.0)
    both, second = [model.generate(count=n, seed=s, sampler=noisy) for n, s in ((2, 3), (1, 4))]
    torch.testing.assert_close(both[1:], second)


@pytest.mark.parametrize("length", [300, 40])
def test_a_prompt_is_continued_and_repaired(length):
    model, prompt = module(), torch.randn(2, length)
    longer = model.generate(0.01, prompt=prompt, count=2)
    assert longer.shape == (2, 2, length + 80) and torch.equal(longer[0, :, :length], prompt)
    keep = torch.ones(length, dtype=torch.bool)
    keep[10:30] = False
    repaired = model.generate(prompt=prompt, keep=keep)[0]
    assert torch.equal(repaired[:, keep], prompt[:, keep])
    assert not torch.isclose(repaired[:, ~keep], prompt[:, ~keep]).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"count": 0}, "count must be at least 1"),
        ({"seconds": 0.0}, "seconds must be positive"),
        ({"strength": 2.0}, r"strength must be in \[0, 1\]"),
        ({"cond": {"folder": ["a"]}}, "Dance reads no metadata"),
        ({"keep": torch.ones(3)}, "keep needs a prompt"),
        ({"prompt": torch.ones(2, 8), "keep": torch.ones(3)}, "keep must be 8 booleans"),
        ({"prompt": torch.ones(2, 8), "init": torch.ones(2, 8)}, "a prompt .* or init, not both"),
        ({"init": torch.ones(2, 80), "seconds": 1.0}, "init has 0.01 s"),
        ({"init": torch.ones(8)}, r"init must be audio \[channels, samples\]"),
        ({"sampler": Other()}, "Other can't sample Dance"),
    ],
)
def test_requests_that_can_not_be_met_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        module().generate(**options)
