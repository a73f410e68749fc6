"""Check Jukebox Diffusion's U-Net, latents, training step and sampling against golden numbers."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from codec.jukebox import EMBEDDED
from codec.vqvae import VQVAE
from foundation.weights import read_state
from jbdiff.checkpoints import load_unet, published_unet
from jbdiff.guidance import guided
from jbdiff.published import published_level
from jbdiff.samplers import DDIM, sample_from
from jbdiff.unet import UNet
from jbdiff.vdiffusion import even_times, v_loss
from jbdiff.velocity_net import velocity
from tests.goldens import vqvae
from tests.goldens.files import through_file
from tests.goldens.format import Case, Golden

Rows = Iterator[tuple[str, str, float]]
SCALE = "net_scale_"
GRAD = "grad/"
STEPS = 6  # of the reference's sampling from initial latents, and its guidance
GUIDANCE = 2.0
PUBLISHED = [64, 128, 128, 256, 256, 512, 512, 1024, 1024]


def build(case: Case, config: dict) -> UNet:
    """Build the network of a case and give it the golden weights through the key map.

    Of the published size, they go through a file of the published layout.
    """
    if config["channels"] == PUBLISHED:
        state = {f"diffusion.{name}": value for name, value in case.fill_state().items()}
        state |= {f"vqvae.{name}": value for name, value in read_state(EMBEDDED).items()}
        load = partial(published_level, level=2)
        return through_file({"epoch": 0, "state_dict": state}, lambda path: load(Path(path))).net
    net = UNet(
        config["embedding_max_length"],
        config["resnet_dropout_rate"],
        config["in_channels"],
        config["channels"],
        config["factors"],
        config["items"],
        config["attentions"],
        config["cross_attentions"],
        config["attention_heads"],
        config["attention_features"],
        config["embedding_features"],
        config.get("modulation_features", 1024),
        dilation_factor=config["resnet_dilation_factor"],
    )
    load_unet(net, case.fill_state(), f"{case.golden.name}/{case.name}")
    return net.eval()


def check_unet(golden: Golden) -> Rows:
    """Outputs at each guidance, loss, gradients, and a sampled signal."""
    for case in golden.cases.values():
        net = build(case, case.config)
        x, t, context = (
            case.input("x"),
            case.input("sigma"),
            case.input("embedding").transpose(1, 2),
        )
        with torch.no_grad():
            results = {
                name: guided(net, context, float(name.removeprefix(SCALE)))(x, t)
                for name in case.outputs
                if name.startswith(SCALE)
            }
            results["net_masked"] = velocity(net, x, t, net.null_context(context))
            results["sample"] = _sample(case, net, context)
        noise = case.input("noise")
        loss = v_loss(lambda x, t, n=net, c=context: velocity(n, x, t, c), x, noise, t).mean()
        loss.backward()
        results["loss"] = loss
        results |= _gradients(case, net)
        for name, result in results.items():
            yield case.name, name, case.compare(name, result)


def _sample(case: Case, net: UNet, context: Tensor) -> Tensor:
    """Sample as the case's note says."""
    note = case.outputs["sample"]["note"]
    settings = dict(re.findall(r"(\w+)=([\d.]+)", note))
    scale, steps = float(settings["embedding_scale"]), int(settings["num_steps"])
    v_fn = guided(net, context, scale)
    return sample_from(v_fn, case.input("noise"), DDIM(steps), even_times)


def _gradients(case: Case, net: UNet) -> dict[str, Tensor]:
    """Gradients by the names of the reference."""
    ours = dict(net.named_parameters())
    wanted = [name for name in case.outputs if name.startswith(GRAD)]
    names = {next(iter(published_unet({name.removeprefix(GRAD): None}))): name for name in wanted}
    return {theirs: ours[name].grad for name, theirs in names.items()}


def check_levels(golden: Golden) -> Rows:
    """The cases of `jbdiff_sampler_utils` that run a codec level and a diffusion model."""
    codec = golden.case("codec")
    net = vqvae.build(codec)
    for name, case in golden.cases.items():
        with torch.no_grad():
            if name == "codec":
                yield from _check_codec(case, net)
            elif name.startswith("step_l"):
                yield from _check_step(case, net)


def _audio(x: Tensor) -> Tensor:
    """The reference's audio [B, T, C] as ours, [B, C, T]."""
    return x.transpose(1, 2)


def _check_codec(case: Case, net: VQVAE) -> Rows:
    audio = _audio(case.input("x"))
    for level in range(len(net.config.downs)):
        codebook, latents = net.codebook(level), case.input(f"latent{level}")
        codes = net.encode(audio, level)
        nearest, _ = codebook.quantise(codebook.denormalise(latents))
        plain = net.decoders[level](codebook.denormalise(latents))
        results = {
            "z": codes,
            "x_q": codebook.normalise(codebook.look_up(codes)),
            "decoded": net.decoders[level](codebook.look_up(nearest)),
            "decoded_codes": nearest,
            "decoded_noquant": plain,
            "norm_pre": codebook.normalise(latents),
            "norm_post": codebook.denormalise(latents),
        }
        for name, value in results.items():
            yield case.name, f"{name}_l{level}", case.compare(f"{name}_l{level}", value)


def _check_step(case: Case, autoencoder: VQVAE) -> Rows:
    level = int(case.name.removeprefix("step_l"))
    codebook = autoencoder.codebook(level)
    config = case._find("unet_config", dict).manifest["unet_config"]
    net = build(case, config)

    def encode(audio: Tensor) -> Tensor:
        return codebook.normalise(codebook.look_up(autoencoder.encode(audio, level)))

    audio, noise, t = _audio(case.input("x")), case.input("noise"), case.input("sigma")
    clean, context = encode(audio), encode(_audio(case.input("cond")))
    far = noise
    if level + 1 < len(autoencoder.config.downs):
        coarse = autoencoder.codebook(level + 1)
        codes = autoencoder.encode(audio, level + 1)
        far = encode(autoencoder.decoders[level + 1](coarse.look_up(codes)))
    loss = v_loss(lambda x, t: velocity(net, x, t, context), clean, far, t).mean()
    yield case.name, "training_loss", case.compare("training_loss", loss)
    for name in case.outputs:
        strength = name.removeprefix("sample_init_")
        if strength in (name, "audio"):
            continue
        latents = sample_from(
            guided(net, context[:1], GUIDANCE),
            noise[:1],
            DDIM(STEPS),
            even_times,
            clean[:1],
            float(strength),
        )
        yield case.name, name, case.compare(name, latents)
        if strength == "0.5":
            codes, _ = codebook.quantise(codebook.denormalise(latents))
            sound = autoencoder.decoders[level](codebook.look_up(codes)).transpose(1, 2)
            yield case.name, "sample_init_audio", case.compare("sample_init_audio", sound)
