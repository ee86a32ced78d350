"""A model on several workers: replicas of it (DDP), or parts of it on each (FSDP2)."""

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from training.config import SpreadConfig
from training.replicas import alone


def spreading(
    spread: SpreadConfig, precision: str, device: torch.device, unused: bool = False
) -> Callable[[nn.Module], nn.Module]:
    """What the frame wraps a task's model with.

    Args:
        spread: strategy, and what is sharded.
        precision: of the optimiser's section; with bf16 the shards travel and compute in bfloat16, and so do gradients.
        device: where this worker's part of the model goes.
        unused: whether some weights have no gradient, as poolers do: replicas look for them after each step.
    """
    if spread.strategy == "fsdp":
        return partial(_shard, spread=spread, low=precision == "bf16", device=device)
    return partial(_replicate, low=precision == "bf16", device=device, unused=unused)


def _replicate(model: nn.Module, low: bool, device: torch.device, unused: bool) -> nn.Module:
    """Li et al., "PyTorch Distributed", VLDB 2020; gradients live in the buckets that are exchanged, without a copy."""
    model.to(device)
    if alone():
        return model
    replica = DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        forward_sync_buffers=False,  # they never change
        find_unused_parameters=unused,
    )
    if low and device.type == "cuda":  # gloo's sums of bfloat16 take longer than their transport saves
        replica.register_comm_hook(None, bf16_compress_hook)
    return replica


def _shard(model: nn.Module, spread: SpreadConfig, low: bool, device: torch.device) -> nn.Module:
    """Zhao et al., "PyTorch FSDP", VLDB 2023, in its second form: each weight is split over the workers by its rows.

    The task keeps its own model, whole; a copy is sharded. Layers of a stack are gathered one at a time.
    """
    sharded = copy.deepcopy(model).to("cpu" if spread.offload else device)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    dtype = torch.bfloat16 if low else None
    shard = partial(
        fully_shard,
        mesh=mesh,
        reshard_after_forward=spread.shard == "full",
        mp_policy=MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32 if low else None),
        offload_policy=CPUOffloadPolicy(pin_memory=device.type == "cuda") if spread.offload else OffloadPolicy(),
    )
    for stack in [module for module in sharded.modules() if isinstance(module, nn.ModuleList)]:
        for layer in stack:
            if any(weights.requires_grad for weights in layer.parameters()):
                shard(layer)
    shard(sharded)
    return sharded
