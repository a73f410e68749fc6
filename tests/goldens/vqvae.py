"""Check the VQ-VAE against the golden `jukebox_vqvae`."""

from collections.abc import Iterator

import torch
from torch import Tensor

from codec.jukebox import JukeboxCodec
from codec.vqvae import VQVAE, VQVAEConfig
from codec.vqvae_codebook import CodebookEMA
from codec.vqvae_loss import largest_errors, magnitude, norm, spectral_distance, waveform_distance
from tests.goldens.files import through_file
from tests.goldens.format import Case, Golden

Rows = Iterator[tuple[str, str, float]]
SINGLE = (2048, 256, 1536)  # resolution of the plain spectral figures


def build(case: Case) -> VQVAE:
    """Build the network of a case and fill it by the rule; OpenAI's through a file of theirs."""
    c = case.config
    config = VQVAEConfig(
        tuple(c["downs_t"]),
        c["emb_width"],
        c["l_bins"],
        c["width"],
        c["depth"],
        tuple(c["hvqvae_multipliers"]),
        c["dilation_growth_rate"],
    )
    net = case.fill(VQVAE(config)).eval()
    if config != VQVAEConfig():
        return net
    content = {"model": net.state_dict(), "step": 0}
    codec = through_file(content, lambda path: JukeboxCodec(2, path))
    return codec.vqvae.requires_grad_(True)


def check(golden: Golden) -> Rows:
    with torch.no_grad():
        for name in golden.cases:
            case = golden.case(name)
            if name.endswith("_quantise"):
                yield from check_quantise(case, build(golden.case(name.removesuffix("_quantise"))))
            elif not name.endswith("_train"):
                yield from check_network(case, build(case))
    for name in golden.cases:
        if name.endswith("_train"):
            base = golden.case(name.removesuffix("_train"))
            yield from check_training(golden.case(name), base, build(base))


def check_network(case: Case, net: VQVAE) -> Rows:
    audio = case.input("x").transpose(1, 2)  # [N, 1, T]
    for level in range(len(net.config.downs)):
        latents = net.encoders[level](audio)
        yield case.name, f"encoder_l{level}", case.compare(f"encoder_l{level}", latents)
        codes, margins = codes_and_margins(net, latents, level)
        yield case.name, f"codes_margin_l{level}", case.compare(f"codes_margin_l{level}", margins)
        sure = margins > 1e-2 * margins.median()
        yield case.name, f"codes_l{level}", case.compare(f"codes_l{level}", codes, sure)
        out = net.decoders[level](net.codebook(level).look_up(case.input(f"z{level}")))
        decoded = case.compare(f"decode_l{level}", out.transpose(1, 2))
        yield case.name, f"decode_l{level}", decoded


def codes_and_margins(net: VQVAE, latents: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Codes [N, L], and how much further the second nearest code is."""
    codebook = net.codebook(level)
    codes, _ = codebook.quantise(latents)
    flat = latents.transpose(1, 2).double()
    distances = torch.cdist(flat, codebook.k.double()[None]).square()
    two = distances.topk(2, dim=-1, largest=False).values
    return codes, (two[..., 1] - two[..., 0]).float()


def check_quantise(case: Case, net: VQVAE) -> Rows:
    for level in range(len(net.config.downs)):
        x = case.input(f"x{level}")
        codebook = net.codebook(level)
        codes, distance = codebook.quantise(x)
        results = {
            "codes": codes,
            "x_q": x + (codebook.look_up(codes) - x),
            "commit": (codebook.look_up(codes) - x).square().mean()[None],
            "fit": distance.mean()[None],
            "pn": (x - x.mean()).square().mean().sqrt()[None],
        }
        for name, value in results.items():
            yield case.name, f"{name}_l{level}", case.compare(f"{name}_l{level}", value)


def check_training(case: Case, base: Case, net: VQVAE) -> Rows:
    """One batch: every part of the loss, gradients, and the codebooks after the update."""
    audio, hps = base.input("x").transpose(1, 2), base.config
    width = case.manifest["bandwidth"]
    levels = range(len(net.config.downs))
    sums: dict[str, Tensor] = {}
    statistics: dict[str, list[Tensor]] = {}
    waveform, spectral, commits = [], [], []
    outputs, latents, codes = [], [], []
    for level in levels:
        codebook = net.codebook(level)
        z = net.encoders[level](audio)
        c, distance = codebook.quantise(z)
        out = net.decoders[level](z + (codebook.look_up(c) - z).detach())
        outputs.append(out), latents.append(z), codes.append(c)
        waveform.append(waveform_distance(out, audio, hps["lmix_linf"]) / width["l2"])
        spectral.append(spectral_distance(out, audio) / width["spec"])
        commits.append((z - codebook.look_up(c).detach()).square().mean())
        counts = torch.bincount(c.flatten(), minlength=len(codebook.k)).float()
        shares = counts / counts.sum()
        single = norm(magnitude(audio, SINGLE) - magnitude(out, SINGLE)).mean()
        sums[f"recons_loss_l{level + 1}"] = waveform[-1]
        sums[f"multispectral_loss_l{level + 1}"] = spectral[-1]
        sums[f"spectral_loss_l{level + 1}"] = single / width["spec"]
        for name, value in {
            "entropy": -(shares * (shares + 1e-8).log()).sum(),
            "fit": distance.mean(),
            "pn": (z - z.mean()).square().mean().sqrt(),
            "used_curr": (counts >= hps["revival_threshold"]).float().sum(),
        }.items():
            statistics.setdefault(name, []).append(value)
    first = outputs[0]
    gap = norm(magnitude(audio, SINGLE) - magnitude(first, SINGLE))
    sums |= {name: torch.stack(values).mean() for name, values in statistics.items()}
    sums |= {
        "commit_loss": sum(commits),
        "recons_loss": sum(waveform),
        "multispectral_loss": sum(spectral),
        "spectral_loss": sum(sums[f"spectral_loss_l{i + 1}"] for i in levels),
        "spectral_convergence": (gap / norm(magnitude(audio, SINGLE)).clamp(min=2e-3)).mean(),
        "l1_loss": (first - audio).abs().mean() / width["l1"],
        "l2_loss": (first - audio).square().mean() / width["l2"],
        "linf_loss": largest_errors(first, audio, hps["linf_k"]) / width["l2"],
    }
    sums["loss"] = (
        sums["recons_loss"]
        + hps["multispectral"] * sums["multispectral_loss"]
        + hps["commit"] * sums["commit_loss"]
    )
    sums["loss"].backward()
    parameters = dict(net.named_parameters())
    for name, value in sums.items():
        yield case.name, name, case.compare(name, value.detach()[None])
    for name in case.outputs:
        if name.startswith("grad/"):
            yield case.name, name, case.compare(name, parameters[name.removeprefix("grad/")].grad)
    yield case.name, "x_out", case.compare("x_out", first.detach().transpose(1, 2))
    for level in levels:
        vectors = latents[level].detach().transpose(1, 2).flatten(0, 1)
        average = CodebookEMA(net.codebook(level), hps["l_mu"], hps["revival_threshold"])
        average.counts.fill_(codes[level].shape[1] / hps["l_bins"])  # the reference's start
        average.sums.mul_(average.counts[:, None])
        average.update(vectors, codes[level].flatten())
        alive = average.counts >= hps["revival_threshold"]
        k = net.codebook(level).k * alive[:, None]
        for name, value in (("k_elem", average.counts), ("k_sum", average.sums), ("k", k)):
            yield case.name, f"{name}_after_l{level}", case.compare(f"{name}_after_l{level}", value)
