"""Rows of all workers on each of them, through which gradients flow back: for negatives from other workers' batches."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from training.replicas import alone


class _Gather(torch.autograd.Function):
    """All-gather forwards; backwards each worker gets the sum of what all workers' losses say of its rows."""

    @staticmethod
    def forward(ctx: Any, mine_BD: Tensor) -> Tensor:  # noqa: ANN401 - torch's context has no type
        all_GD = mine_BD.new_empty((dist.get_world_size() * len(mine_BD), *mine_BD.shape[1:]))
        dist.all_gather(list(all_GD.chunk(dist.get_world_size())), mine_BD.contiguous())
        return all_GD

    @staticmethod
    def backward(ctx: Any, gradient_GD: Tensor) -> Tensor:  # noqa: ANN401
        summed_GD = gradient_GD.contiguous().clone()
        dist.all_reduce(summed_GD)
        rows = len(summed_GD) // dist.get_world_size()
        return summed_GD[dist.get_rank() * rows :][:rows]


def gather_rows(mine_BD: Tensor) -> tuple[Tensor, int]:
    """The rows of every worker's tensor, in the order of ranks, and the position at which this worker's begin.

    DDP averages gradients over W workers. A loss that is the mean over this worker's own B questions against all W·B
    answers gives, so averaged, the gradient of the mean over all questions: nothing is to be scaled.

    Args:
        mine_BD: this worker's, equally many rows on all workers; float with gradients, or integers.
    """
    if alone():
        return mine_BD, 0
    gathered: Tensor = _Gather.apply(mine_BD)  # type: ignore[no-untyped-call]
    return gathered, dist.get_rank() * len(mine_BD)
