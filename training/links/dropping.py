"""Dropout of states of many documents."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SINGLY = 2**24  # floats up to which PyTorch draws a number for each


def drop(state: Tensor, share: float, training: bool) -> Tensor:
    """Dropout (Srivastava et al., JMLR 2014).

    PyTorch's own draws a number for each float, on one core: of a million documents a third of a training step. Where
    there are many, a random byte decides over each here, so that the share is met to 1/256.

    Args:
        state: floats of any shape.
        share: that is set to 0; the rest grows by as much.
        training: otherwise nothing is dropped.
    """
    if not training or not share or state.numel() <= SINGLY:
        return functional.dropout(state, share, training)
    dropped: Tensor = _ByBytes.apply(state, share)  # type: ignore[no-untyped-call]
    return dropped


class _ByBytes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, state: Tensor, share: float) -> Tensor:  # noqa: ANN401
        kept = max(1, round(256 * (1 - share)))
        drawn = torch.empty(-(-state.numel() // 8), dtype=torch.int64, device=state.device).random_(-(2**63), None)
        mask = drawn.view(torch.uint8)[: state.numel()].view(state.shape) < kept
        ctx.scale = 256 / kept
        ctx.save_for_backward(mask)
        return (state * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (mask,) = ctx.saved_tensors
        return (gradients[0] * mask).mul_(ctx.scale), None
