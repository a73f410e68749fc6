"""Weights of which each process holds a part (FSDP2: Zhao et al. 2023, arXiv:2304.11277).

They are DTensors; a pointwise operation of such tensors works on the parts. While a module computes
it gathers its weights, which are ordinary tensors then.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def shard(net: nn.Module, mesh: "DeviceMesh", methods: tuple[str, ...]) -> None:
    """Let the processes of a mesh share a network's weights, each layer of its lists on its own.

    `methods` are those that compute with weights besides `forward`. A mesh of two dimensions holds
    the whole network along the first, and shares it along the second.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    if isinstance(net, FSDPModule):
        return
    for layers in net.children():
        for layer in layers if isinstance(layers, nn.ModuleList) else ():
            fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh, reshard_after_forward=True)
    for method in methods:
        register_fsdp_forward_method(net, method)


def keep_gathered(module: nn.Module, keep: bool) -> None:
    """Let weights stay gathered after their next use, or part with them now and after each use.

    As long as they stay, a process can compute alone.
    """
    for part in sharded_parts(module):
        part.set_reshard_after_forward(not keep, recurse=False)
    if not keep:
        scatter(module)


def scatter(module: nn.Module) -> None:
    """Let the weights be the parts of each process; nothing happens to an ordinary module."""
    for part in sharded_parts(module):
        part.reshard()


def sharded_parts(module: nn.Module) -> list:
    return [part for part in module.modules() if hasattr(part, "set_reshard_after_forward")]


def is_sharded(tensor: object) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor as it is, or gathered if it is sharded, for which all processes must ask."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor as it is, or this process's part of it if another one is sharded."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(mesh.device_type), mesh, placements, src_data_rank=None)


def gathered(value: object, keep: bool) -> object:
    """Gather all sharded tensors in nested values onto the CPU; where not `keep`, they are lost."""
    if isinstance(value, Mapping):
        return {key: gathered(part, keep) for key, part in value.items()}
    if isinstance(value, list):
        return [gathered(part, keep) for part in value]
    if isinstance(value, Tensor) and is_sharded(value):
        found = whole(value.detach())
        return found.cpu() if keep else None
    return value
