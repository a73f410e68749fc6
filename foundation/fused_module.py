"""What fused optimizers need of a LightningModule: one kernel for all weights."""

from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer


def fused_for(module: LightningModule) -> bool | None:
    """Return what Adam takes as `fused`: true where the module is on CUDA, else its own choice.

    Not with 16-mixed, whose scaled gradients couldn't be clipped.
    """
    if module.device.type != "cuda" or _scales(module):
        return None
    return True


def clip_gradients(
    module: LightningModule, optimizer: Optimizer, value: float | None, algorithm: str | None
) -> None:
    """Clip as the Trainer does, also for fused optimizers, which its mixed precision refuses.

    It refuses them as they may unscale gradients themselves; bfloat16 has no scale.
    """
    plugin = module.trainer.precision_plugin
    fused = any(group.get("fused") for group in optimizer.param_groups)
    if not value or not fused or _scales(module) or type(plugin) is not MixedPrecision:
        module.clip_gradients(optimizer, value, algorithm)
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if algorithm == "value":
        clip_grad_value_(weights, value)
    else:
        clip_grad_norm_(weights, value)


def _scales(module: LightningModule) -> bool:
    return getattr(module.trainer.precision_plugin, "scaler", None) is not None
