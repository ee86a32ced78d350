"""A batch that does not fit in memory is halved, at last computed on the CPU, and counted."""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from data.encoders.protocol import Vectors
from data.errors import InputError

if TYPE_CHECKING:  # a second and 150 MB in every process of a service, most of which hold no model
    import torch

Tokens = Sequence[Sequence[int]]
Forward = Callable[[Tokens], Vectors]
AnyModule = TypeVar("AnyModule", bound="torch.nn.Module")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: torch has a separate exception for GPUs only."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def forward_within_memory(tokens: Tokens, forward: Forward, at_last: Forward | None) -> tuple[Vectors, int]:
    """Vectors of a batch, in halves where it does not fit as a whole.

    Args:
        tokens: the batch.
        forward: computes a batch.
        at_last: computes a single text that does not fit; None where there is no other place.

    Returns:
        vectors, float32 of shape (n, dim), and how many times memory ran out.

    Raises:
        InputError: if a single text does not fit and there is no other place.
    """
    import torch

    try:
        return forward(tokens), 0
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        if len(tokens) == 1 and at_last is None:
            raise InputError(
                f"encoder: out of memory on a single text of {len(tokens[0])} tokens",
                "Lower encoder.max_length, or leave more memory free.",
            ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # outside the handler, whose traceback holds the failed batch's tensors
    if len(tokens) == 1:
        assert at_last is not None
        return at_last(tokens), 1
    middle = len(tokens) // 2
    halves = [forward_within_memory(half, forward, at_last) for half in (tokens[:middle], tokens[middle:])]
    return np.concatenate([vectors for vectors, _ in halves]), 1 + sum(retries for _, retries in halves)


def on_cpu(module: AnyModule) -> AnyModule:
    """A copy on the CPU in fp32, made without room on the device that the module is on."""
    import torch

    moved: dict[int, object] = {}
    for parameter in module.parameters():
        moved[id(parameter)] = torch.nn.Parameter(parameter.detach().cpu().float(), requires_grad=False)
    for buffer in module.buffers():
        kept = buffer.detach().cpu()
        moved[id(buffer)] = kept.float() if kept.is_floating_point() else kept
    return copy.deepcopy(module, moved)
