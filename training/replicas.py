"""The workers of one training as a process group: what each holds of the model, and what all agree on.

Everything here does nothing where there is but one.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel


def alone() -> bool:
    """Whether this process trains by itself."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def bare(model: nn.Module) -> nn.Module:
    """The model inside DDP's wrapper; another model as it is."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def whole(tensor: Tensor) -> Tensor:
    """A tensor whose parts lie on several workers, gathered on each; another as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def copy_whole(trained: nn.Module, model: nn.Module) -> None:
    """Gather the weights of a sharded model into an unsharded one, tensor by tensor; nothing where it is the same."""
    if trained is model:
        return
    places = model.state_dict()
    for name, tensor in trained.state_dict().items():
        places[name].copy_(whole(tensor))


def synchronise(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass averages gradients over the workers, or they accumulate on each."""
    if isinstance(model, DistributedDataParallel):
        model.require_backward_grad_sync = now
    elif isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)


def mean_of_workers(value: Tensor) -> Tensor:
    """The mean of a number over all workers, on each of them."""
    if alone():
        return value
    mean = value.clone()
    dist.all_reduce(mean)
    return mean / dist.get_world_size()


def rows_of_all(total: int, make: Callable[[int, int], npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Rows of which every worker makes a part, whole on each and the same to the last bit: float32 (total, W).

    Args:
        total: number of rows.
        make: the rows from one number up to another; there may be none.
    """
    if alone():
        return make(0, total)
    each, rank = -(-total // dist.get_world_size()), dist.get_rank()
    mine = torch.from_numpy(make(min(total, rank * each), min(total, (rank + 1) * each)))
    padded = torch.zeros(each, mine.shape[1], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, padded)
    whole: npt.NDArray[np.float32] = torch.cat(parts)[:total].cpu().numpy()
    return whole


def first_decides(figures: dict[str, float]) -> dict[str, float]:
    """The first worker's figures, on every worker: last bits differ between them, and all must stop together."""
    if alone():
        return figures
    held: list[dict[str, float]] = [figures]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def all_well(well: bool) -> bool:
    """Whether something went well on every worker."""
    if alone():
        return well
    flag = torch.tensor(int(well), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(flag, dist.ReduceOp.MIN)
    return bool(flag)
