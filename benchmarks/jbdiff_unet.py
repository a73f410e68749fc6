"""The level models' U-Net beside the same one from a-unet's and audio-diffusion-pytorch's parts.

Two networks stand for the packages, both with their own attention, guidance and time plug-ins:

- "same network": our channels, factors, items, attentions and so on, with the published model's
  ResNet items put together from a-unet's `ConvBlock`: a dilated convolution of width 3, then one of
  width 1. It has our weights; how far the two predictions lie apart is printed.
- "UNetV0": audio-diffusion-pytorch's own class with the same arguments. Its ResNet items have two
  convolutions of width 3 without dilation, so it has more weights than the published model and
  can't take its checkpoints. Nothing else differs: dropout is 0 here in all, and in all three the
  time embedding passes one linear layer twice.

What ours does otherwise: attention through the fused kernel, guidance in one call of batch 2, and
contexts normalised once a window, without keys and values of their own; the plug-in for guidance
makes two calls.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch
from a_unet import ClassifierFreeGuidancePlugin, TimeConditioningPlugin
from a_unet.apex import (
    AttentionItem,
    CrossAttentionItem,
    ModulationItem,
    SelectX,
    SkipModulate,
    XBlock,
    XUNet,
)
from a_unet.blocks import ConvBlock, Skip, T
from audio_diffusion_pytorch import UNetV0
from torch import Tensor, nn

from benchmarks.measure import compare, compare_memory
from jbdiff.guidance import guided
from jbdiff.unet import UNet
from jbdiff.vdiffusion import VFn, v_loss
from jbdiff.velocity_net import drop_context, velocity

GUIDANCE = 3.66
DROP = 0.1
SAME, LIBRARY = "packages' blocks, same network", "packages' UNetV0"
Sizes = dict  # UNet's options by name


def published_sizes() -> Sizes:
    """Read our U-Net's defaults, those of the published models."""
    parameters = inspect.signature(UNet).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "checkpoint_activations"}


def dilated(number: int, factor: int) -> Callable[..., nn.Module]:
    """The number-th ResNet item of the published model, in a-unet's words."""
    dilation = factor**number

    def item(channels: int, resnet_groups: int, **_: object) -> nn.Module:
        half = T(ConvBlock)(
            dim=1,
            in_channels=channels,
            out_channels=channels,
            norm_t=T(nn.GroupNorm)(num_groups=resnet_groups),
        )
        return SelectX(Skip(torch.add))(
            half(kernel_size=3, padding=dilation, dilation=dilation), half(kernel_size=1)
        )

    return item


def same_network(sizes: Sizes) -> nn.Module:
    blocks = [
        XBlock(
            channels=channels,
            factor=factor,
            items=[
                part
                for number in range(items)
                for part in (
                    dilated(number, sizes["dilation_factor"]),
                    ModulationItem,
                    *[AttentionItem] * attention,
                    *[CrossAttentionItem] * crossing,
                )
            ],
        )
        for channels, factor, items, attention, crossing in zip(
            *(
                sizes[name]
                for name in ("channels", "factors", "items", "attentions", "cross_attentions")
            ),
            strict=True,
        )
    ]
    guiding = ClassifierFreeGuidancePlugin(XUNet, sizes["context_length"])
    return TimeConditioningPlugin(guiding)(  # pyright: ignore[reportArgumentType] (a function)
        dim=1,
        in_channels=sizes["in_channels"],
        blocks=blocks,
        skip_t=SkipModulate,
        attention_features=sizes["attention_features"],
        attention_heads=sizes["attention_heads"],
        embedding_features=sizes["context_features"],
        modulation_features=sizes["modulation_features"],
        resnet_groups=sizes["resnet_groups"],
    )


def library_network(sizes: Sizes) -> nn.Module:
    ours = ("dropout", "dilation_factor", "context_length", "context_features")
    return UNetV0(
        dim=1,
        embedding_features=sizes["context_features"],
        embedding_max_length=sizes["context_length"],
        use_embedding_cfg=True,
        **{name: size for name, size in sizes.items() if name not in ours},
    )


def build(name: str, sizes: Sizes) -> nn.Module:
    if name == SAME:
        return same_network(sizes)
    return library_network(sizes) if name == LIBRARY else UNet(**sizes)


def inputs(sizes: Sizes) -> tuple[Tensor, Tensor, Tensor]:
    """Noised latents [1, D, L], a time [1], a context [1, 2 L, E]."""
    x = torch.randn(1, sizes["in_channels"], sizes["context_length"] // 2)
    context = torch.randn(1, sizes["context_length"], sizes["context_features"])
    return x, torch.full((1,), 0.5), context


def training_step(net: nn.Module, sizes: Sizes) -> None:
    """Loss and gradients, contexts dropped as in training; without the optimiser."""
    x, t, context = inputs(sizes)
    net.zero_grad()
    if isinstance(net, UNet):
        dropped = drop_context(net, context.transpose(1, 2), DROP)
        v_fn: VFn = lambda x, t: velocity(net, x, t, dropped)  # noqa: E731
    else:
        v_fn = lambda x, t: net(x, time=t, embedding=context, embedding_mask_proba=DROP)  # noqa: E731
    v_loss(v_fn, x, torch.randn_like(x), t).mean().backward()


@torch.no_grad()
def guided_call(net: nn.Module, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """Predict once with guidance; ours prepares the context for it as well."""
    if isinstance(net, UNet):
        return guided(net, context.transpose(1, 2), GUIDANCE)(x, t)
    return net(x, time=t, embedding=context, embedding_scale=GUIDANCE)


@torch.no_grad()
def two_calls(net: UNet, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
    context = context.transpose(1, 2)
    plain = velocity(net, x, t, context)
    null = velocity(net, x, t, net.null_context(context))
    return null + GUIDANCE * (plain - null)


def step_alone(name: str, sizes: Sizes) -> None:
    """Build a network and train it for two steps."""
    net = build(name, sizes)
    for _ in range(2):
        training_step(net, sizes)


def guided_alone(name: str, sizes: Sizes) -> None:
    guided_call(build(name, sizes).eval(), *inputs(sizes))


@torch.no_grad()
def give_weights(ours: UNet, theirs: nn.Module) -> None:
    """Copy our weights to the same network of the packages, whose parts come in our order."""
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.shape == other.shape
        other.copy_(mine)


def networks(sizes: Sizes, repeats: int) -> None:
    """Print the costs of a training step and of a guided call, ours first."""
    nets = {name: build(name, sizes) for name in ("ours", SAME, LIBRARY)}
    own = nets["ours"]
    assert isinstance(own, UNet)
    give_weights(own, nets[SAME])
    for name, net in nets.items():
        weights = sum(parameter.numel() for parameter in net.parameters())
        print(f"{'U-Net, weights':20s} {name:36s} {weights / 1e6:8.2f} million", flush=True)
    given = inputs(sizes)
    ours, theirs = (guided_call(nets[name].eval(), *given) for name in ("ours", SAME))
    print(f"{'U-Net, difference':20s} {SAME:36s} {(ours - theirs).norm() / ours.norm():.1e}")
    once = torch.no_grad()(guided(own, given[-1].transpose(1, 2), GUIDANCE))
    calls = {
        "ours, context prepared before": lambda: once(*given[:2]),
        "ours, context prepared as well": lambda: guided_call(nets["ours"], *given),
        "ours, in two calls": lambda: two_calls(own, *given),
        SAME: lambda: guided_call(nets[SAME], *given),
        LIBRARY: lambda: guided_call(nets[LIBRARY], *given),
    }
    compare("U-Net, guided call", calls, repeats)
    for net in nets.values():
        net.train()
    steps = {name: partial(training_step, net, sizes) for name, net in nets.items()}
    compare("U-Net, a step", steps, repeats)


def memory(sizes: Sizes) -> None:
    for title, run in (("guided call", guided_alone), ("a step", step_alone)):
        runs = {name: partial(run, name, sizes) for name in ("ours", SAME, LIBRARY)}
        compare_memory(f"U-Net, {title}", runs)
