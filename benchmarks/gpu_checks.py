"""The checks of benchmarks.gpu: each takes the device and the sizes, and returns JSON."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.jbdiff import TINY, TINY_DANCE
from benchmarks.jbdiff_unet import published_sizes
from benchmarks.sedd_originals import OriginalNet, sedd_loss, sedd_sample
from codec.jukebox import JukeboxCodec
from codec.spectral import SpectralCodec
from foundation.attention import flash_attn_func  # pyright: ignore
from foundation.audio_module import AudioModel
from foundation.precision import fast_dtype, sampling_precision
from jbdiff.dance import DiffusionAttnUnet1D
from jbdiff.dance_module import Dance
from jbdiff.guidance import guided
from jbdiff.latent_transformer import LatentDiT
from jbdiff.module import JBDiff
from jbdiff.unet import UNet
from metrics.embedding import MissingWeights
from metrics.embedding_names import make_embedding
from metrics.frechet import Gaussian, frechet
from sedd.ddit import DDiT
from sedd.graph import Absorb
from sedd.noise import LogLinear
from sedd.objective import Objective, ScoreEntropy, Subs
from sedd.samplers import Analytic, FirstHitting, TokenSampler
from sedd.score_net import Conditioned

CODES = 4096


@dataclass(frozen=True)
class Setting:
    device: torch.device
    small: bool

    def choose(self, large: int, small: int) -> int:
        return small if self.small else large

    @property
    def sedd(self) -> tuple[int, int, int]:
        """Width, blocks and heads of SEDD small."""
        return (32, 2, 2) if self.small else (768, 12, 12)

    @property
    def length(self) -> int:
        return self.choose(1024, 32)

    @property
    def codes(self) -> int:
        return self.choose(CODES, 64)


def seconds(setting: Setting, run: Callable[[], object], warm: int = 3) -> float:
    """Return the median time of a run, after some that aren't counted."""
    repeats = setting.choose(10, 1)
    times = []
    for _ in range(setting.choose(warm, 1) + repeats):
        start = time.perf_counter()
        run()
        if setting.device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[-repeats:])[repeats // 2]


def peak_mib(setting: Setting, run: Callable[[], object]) -> float | None:
    """Return the most memory that a run holds on a GPU, weights included."""
    if setting.device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 2**20


def mixed(setting: Setting, on: bool = True) -> torch.autocast:
    return torch.autocast(setting.device.type, torch.bfloat16, enabled=on)


def rate(setting: Setting) -> float:
    """Return the measured bfloat16 rate of large matrix products, in FLOP/s."""
    n = setting.choose(8192, 128)
    a = torch.randn(n, n, device=setting.device, dtype=torch.bfloat16)
    return 2 * n**3 / seconds(setting, lambda: a @ a)


def machine(setting: Setting) -> dict:
    """What the device is, its measured rate, and each attention kernel's time."""
    cuda = setting.device.type == "cuda"
    shape = (4, setting.sedd[2], setting.length, setting.sedd[0] // setting.sedd[2])
    q = torch.randn(shape, device=setting.device, dtype=torch.bfloat16)
    kernels = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION,
                    SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH):  # fmt: skip
        try:
            with sdpa_kernel(backend):
                kernels[backend.name] = seconds(
                    setting, lambda: scaled_dot_product_attention(q, q, q)
                )
        except RuntimeError as error:
            kernels[backend.name] = str(error).splitlines()[0][:80]
    kernels["chosen by SDPA"] = seconds(setting, lambda: scaled_dot_product_attention(q, q, q))
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "bf16 TFLOP/s": rate(setting) / 1e12,
        "fast dtype": str(fast_dtype(setting.device)),
        "flash-attn": flash_attn_func is not None,
        "attention kernels, s": kernels,
    }


def step_of(setting: Setting, kind: str, batch: int) -> Callable[[], None]:
    """Return a training step of SEDD small: the original's, or ours, eager or compiled."""
    torch.manual_seed(0)
    width, blocks, heads = setting.sedd
    tokens = torch.randint(setting.codes, (batch, setting.length), device=setting.device)
    times = torch.linspace(0.05, 0.95, batch, device=setting.device)
    if kind == "original":
        net: nn.Module = OriginalNet(setting.codes + 1, width, blocks, heads, 0.1)
        loss: Callable[[], Tensor] = lambda: sedd_loss(net.to(setting.device), tokens, times)  # noqa: E731
    else:
        graph = Absorb(setting.codes)
        net = DDiT(graph.dim, 1, width, blocks, heads).to(setting.device)
        losses = ScoreEntropy(graph, LogLinear()).losses
        if kind != "eager":
            losses = torch.compile(losses, mode=None if kind == "compiled" else kind)
        loss = lambda: losses(Conditioned(net), tokens[:, None], times).mean()  # noqa: E731
    fused = setting.device.type == "cuda" and kind != "original"
    optimizer = torch.optim.AdamW(net.to(setting.device).parameters(), 3e-4, fused=fused or None)

    def step() -> None:
        with mixed(setting):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def step_flops(setting: Setting, tokens: int) -> float:
    """Count the FLOPs of a step's matrix products: six a weight and token, and attention's."""
    width, blocks, _ = setting.sedd
    weights = blocks * 12 * width**2 + width * (setting.codes + 1)
    return tokens * (6 * weights + 12 * blocks * width * setting.length)


def steps(setting: Setting) -> dict:
    """SEDD small's step: tokens/s, share of the measured bfloat16 rate, memory."""
    batch, found, full = setting.choose(32, 2), {}, rate(setting)
    kinds = ("original", "eager") if setting.small else (
        "original", "eager", "compiled", "reduce-overhead"
    )  # fmt: skip
    for kind in kinds:
        try:
            step = step_of(setting, kind, batch)
            taken = seconds(setting, step)
            found[kind] = {
                "tokens/s": batch * setting.length / taken,
                "MFU": step_flops(setting, batch * setting.length) / taken / full,
                "peak MiB": peak_mib(setting, step),
            }
        except Exception as error:  # one kind that fails mustn't hide the others
            found[kind] = {"failed": f"{type(error).__name__}: {error}"[:500]}
    return found


def sedd_for_agreement(setting: Setting) -> tuple[nn.Module, Callable[[int], Tensor]]:
    width, blocks, heads = setting.sedd
    graph = Absorb(setting.codes)
    net = DDiT(graph.dim, 1, width, blocks, heads, dropout=0.0).to(setting.device)
    objective = ScoreEntropy(graph, LogLinear())

    def loss(step: int) -> Tensor:
        torch.manual_seed(step)
        walk = torch.randint(-3, 4, (8, 1, setting.length), device=setting.device).cumsum(-1)
        times = torch.linspace(0.05, 0.95, 8, device=setting.device)
        return objective.losses(Conditioned(net), walk % setting.codes, times).mean()

    return net, loss


def model_for_agreement(
    make: Callable[[Setting], AudioModel], setting: Setting
) -> tuple[nn.Module, Callable[[int], Tensor]]:
    model = make(setting).to(setting.device).train()

    def loss(step: int) -> Tensor:
        torch.manual_seed(step)
        return model.losses(waves(model, 4), torch.linspace(0.05, 0.95, 4).to(model.device)).mean()

    return model, loss


def waves(model: AudioModel, count: int) -> dict[str, Tensor]:
    """Return audio of random tones with the model's window and context."""
    window = model.window
    total = window.context + window.length
    places = torch.arange(total, device=model.device) / window.sample_rate
    pitch = 110 * 2 ** (4 * torch.rand(count, window.channels, 1, device=model.device))
    audio = 0.3 * torch.sin(2 * torch.pi * pitch * places)
    parts = {"context": audio[..., : window.context], "audio": audio[..., window.context :]}
    return parts if window.context else {"audio": audio}


def level_2(setting: Setting) -> JBDiff:
    sizes = published_sizes() | (TINY if setting.small else {})
    rest = {name: size for name, size in sizes.items() if name not in ("context_length", "dropout")}
    tokens = setting.choose(768, 16)
    return JBDiff(2, net=lambda length, dropout: UNet(length, 0.0, **rest), base_tokens=tokens)


def level_3(setting: Setting) -> JBDiff:
    net = partial(LatentDiT, hidden_size=setting.choose(768, 32), num_blocks=setting.choose(12, 1))
    return JBDiff(3, net=net, dropout=0.0, base_tokens=setting.choose(192, 16))


def dance(setting: Setting) -> Dance:
    net = partial(DiffusionAttnUnet1D, **TINY_DANCE) if setting.small else DiffusionAttnUnet1D
    return Dance(net, length=setting.choose(65536, 1024))


def agreement(
    make: Callable[[Setting], tuple[nn.Module, Callable[[int], Tensor]]], setting: Setting
) -> dict:
    """Train in float32 and in bfloat16 from the same start, on the same batches and noise."""
    curves = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        net, loss = make(setting)
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-4)
        curve = []
        for step in range(setting.choose(50, 3)):
            with mixed(setting, precision == "bfloat16"):
                value = loss(step)
            value.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            curve.append(value.detach())
        curves[precision] = torch.stack(curve).double().cpu()
    exact, rounded = curves.values()
    return {
        "mean relative difference": float(((rounded - exact) / exact).abs().mean()),
        "relative difference of the means": float(rounded.mean() / exact.mean() - 1),
        "float32": [float(exact[0]), float(exact[-1])],
        "bfloat16": [float(rounded[0]), float(rounded[-1])],
    }


@torch.no_grad()
def guided_unet(setting: Setting) -> dict:
    """A guided call of level 2's U-Net, in float32 and as samplers make it."""
    model = level_2(setting).to(setting.device).eval()
    x = torch.randn(1, 64, model.base_tokens, device=setting.device)
    context = torch.randn(1, 64, model.context_tokens, device=setting.device)
    v_fn, t = guided(model.net, context, 4.0), torch.full((1,), 0.5, device=setting.device)
    plain = seconds(setting, lambda: v_fn(x, t))
    with sampling_precision(setting.device):
        fast = guided(model.net, context, 4.0)
        return {"float32 s": plain, "sampling s": seconds(setting, lambda: fast(x, t))}


def sampled(
    setting: Setting, net: DDiT, objective: type[Objective], sampler: TokenSampler
) -> float:
    graph, batch = Absorb(setting.codes), setting.choose(8, 1)
    score_fn = objective(graph, LogLinear()).log_score(Conditioned(net))
    empty = torch.zeros(batch, 1, setting.length, dtype=torch.long, device=setting.device)
    start = time.perf_counter()
    with sampling_precision(setting.device):
        sampler.sample(score_fn, graph, LogLinear(), empty, empty.bool())
    if setting.device.type != "cpu":
        torch.accelerator.synchronize()
    return empty.numel() / (time.perf_counter() - start)


def samplers(setting: Setting) -> dict:
    """Tokens per second of SEDD small's samplers at as many steps as tokens."""
    width, blocks, heads = setting.sedd
    count = setting.length
    net = DDiT(setting.codes + 1, 1, width, blocks, heads).to(setting.device).eval()
    original = OriginalNet(setting.codes + 1, width, blocks, heads, 0.0).to(setting.device).eval()
    start, batch = time.perf_counter(), setting.choose(8, 1)
    with mixed(setting):
        sedd_sample(original, (batch, count), count)
    theirs = batch * count / (time.perf_counter() - start)
    return {
        "original, tokens/s": theirs,
        "FirstHitting, tokens/s": sampled(setting, net, ScoreEntropy, FirstHitting(count)),
        "FirstHitting of 64 calls, tokens/s": sampled(setting, net, Subs, FirstHitting(64)),
        "Subs, Analytic, tokens/s": sampled(setting, net, Subs, Analytic(count)),
    }


@torch.no_grad()
def codecs(setting: Setting) -> dict:
    """Encoding and decoding in multiples of real time."""
    found = {}
    for codec in (SpectralCodec(), JukeboxCodec(2)):
        codec = codec.to(setting.device).eval()
        length, count = setting.choose(60, 1), setting.choose(16, 1)
        audio = torch.randn(count, 1, length * codec.sample_rate, device=setting.device).mul(0.1)
        tokens = codec.encode(audio)
        found[type(codec).__name__] = {
            "encode": count * length / seconds(setting, partial(codec.encode, audio), 1),
            "decode": count * length / seconds(setting, partial(codec.decode, tokens), 1),
        }
    return found


@torch.no_grad()
def fad(setting: Setting) -> dict:
    """FAD of 1,000 clips of 10 s: embedding and distance, musicnn's vectors if they are here."""
    try:
        embedding = make_embedding("musicnn").to(setting.device)
    except MissingWeights:
        embedding = make_embedding("logmel").to(setting.device)
    count, batch = setting.choose(1000, 2), setting.choose(50, 2)
    start, parts = time.perf_counter(), []
    for _ in range(count // batch):
        noise = torch.randn(batch, 1, setting.choose(10, 4) * embedding.sample_rate)
        parts.append(embedding(noise.mul(0.1).to(setting.device)).cpu())
    vectors = torch.cat(parts)
    taken = time.perf_counter() - start
    half = len(vectors) // 2
    distance = frechet(Gaussian.of(vectors[:half]), Gaussian.of(vectors[half:]))
    return {
        "of": type(embedding).__name__,
        "embedding s": taken,
        "total s": time.perf_counter() - start,
        "distance": distance,
    }


def suite(setting: Setting) -> dict:
    """Run the suite's tests that need an accelerator."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    return {"status": done.returncode, "last lines": done.stdout.splitlines()[-12:]}


CHECKS: dict[str, Callable[[Setting], dict]] = {
    "machine": machine,
    "SEDD's step": steps,
    "bf16 of SEDD": partial(agreement, sedd_for_agreement),
    "samplers": samplers,
    "bf16 of level 3": partial(agreement, partial(model_for_agreement, level_3)),
    "bf16 of level 2": partial(agreement, partial(model_for_agreement, level_2)),
    "bf16 of Dance": partial(agreement, partial(model_for_agreement, dance)),
    "gpu tests": suite,
    "codecs": codecs,
    "guided U-Net call": guided_unet,
    "FAD of 1,000 clips": fad,
}
