"""Attention in bf16 on a CPU as three matrix products and one exponential, for transformers' encoders.

torch's fused kernel multiplies blocks of a few dozen rows and takes exponentials in fp32: where the processor has
AVX512-BF16 but no AMX, that is half the speed of whole products and bf16 exponentials, a few texts at a time so that
their scores stay in the cache. Softmax needs each row's largest score taken off before scores are rounded to bf16, or
large ones lose their differences; here the first product finds it, and a second one takes it off in fp32, by two
columns that are appended to queries and keys.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, sdpa_mask

NAME = "catena_bf16"
SCORES = 700_000  # of a step, 2 bytes each: what a core's second-level cache holds
_NOT_HERE = ("position_bias", "softcap", "s_aux", "cache", "sliding_window")


def use_in(model: torch.nn.Module) -> None:
    """Make a transformers model compute its attention this way; one without the setting is left unchanged."""
    can = getattr(model, "_can_set_attn_implementation", None)
    if can is not None and can():
        AttentionInterface.register(NAME, _forward)
        AttentionMaskInterface.register(NAME, _mask)
        model.set_attn_implementation(NAME)  # type: ignore[operator]


class Room(NamedTuple):
    """Where scores and the largest of each row are, bf16, flat, and the same memory read as int16.

    It is made outside: TorchScript, which ``attend`` is compiled with, reads no number as bits of another type.
    """

    scores: Tensor
    score_bits: Tensor
    largest: Tensor
    largest_bits: Tensor


def room_for(sequences: int, length: int) -> Room:
    """Room for one step of ``attend``.

    Args:
        sequences: texts times heads.
        length: of the longest text.
    """
    step = min(max(1, SCORES // length**2), sequences)
    scores = torch.empty(step * length**2, dtype=torch.bfloat16)
    largest = torch.empty(step * length, dtype=torch.bfloat16)
    return Room(scores, scores.view(torch.int16), largest, largest.view(torch.int16))


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """As ``attend``, with room of its own."""
    texts, heads, length, _ = query.shape
    return attend(query, key, value, mask, scale, room_for(texts * heads, length))


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, room: Room) -> Tensor:
    """Softmax attention, every query to every key that the mask leaves; can be compiled by TorchScript.

    Args:
        query: bf16 of shape (texts, heads, length, dim), as the next two.
        key: likewise.
        value: likewise.
        mask: bool of shape (texts, length), True where there is a key; None for all of them.
        scale: of the scores.
        room: of ``room_for``.

    Returns:
        bf16 of shape (texts, heads, length, dim); not finite where a score is not.
    """
    texts, heads, length, dim = query.shape
    queries = torch.empty([texts, heads, length, dim + 2], dtype=query.dtype)  # ..., minus the largest score, 1
    keys = torch.empty([texts, heads, length, dim + 2], dtype=query.dtype)  # ..., 1, what masks the key
    queries[..., :dim], queries[..., dim], queries[..., dim + 1] = query, 0.0, 1.0
    keys[..., :dim], keys[..., dim], keys[..., dim + 1] = key, 1.0, 0.0
    if mask is not None:
        keys[..., dim + 1].masked_fill_(~mask.unsqueeze(1), -1e5)
    queries, keys = queries.flatten(0, 1), keys.flatten(0, 1)
    values = value.reshape(texts * heads, length, dim)
    out = torch.empty_like(values)
    step = room.largest.shape[0] // length
    for start in range(0, texts * heads, step):
        left, right = queries[start : start + step], keys[start : start + step].transpose(1, 2)
        rows = left.shape[0] * length
        scores = room.scores[: rows * length].view(-1, length, length)
        torch.bmm(left, right, out=scores)
        _find_largest(room.score_bits[: rows * length].view(rows, length), room.largest_bits[:rows])
        left[..., dim] = -room.largest[:rows].view(-1, length)
        # alpha has the base-2 logarithm of e
        torch.baddbmm(scores, left, right, beta=0, alpha=scale * 1.4426950408889634, out=scores)
        torch.exp2(scores, out=scores)
        torch.bmm(scores, values[start : start + step], out=out[start : start + step])
        out[start : start + step].div_(scores.sum(2, keepdim=True))
    return out.view(texts, heads, length, dim)


def _find_largest(bits: Tensor, out: Tensor) -> None:
    """The largest of each row: bf16 numbers compared by their bits, which is four times as fast.

    Bits of positive numbers, read as int16, are in the numbers' order and above those of negative ones, which are in
    reverse order.
    """
    torch.amax(bits, [1], out=out)
    below = out < 0
    if bool(below.any()):
        out.copy_(torch.where(below, bits.amin([1]), out))


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,  # noqa: ANN401 - transformers' interface
) -> tuple[torch.Tensor, None]:
    """Called by transformers in each layer; anything but plain attention goes to torch's kernel."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    per_key = attention_mask is None or attention_mask.dim() == 2
    alike = query.shape == key.shape == value.shape and query.dtype == torch.bfloat16
    if not (per_key and alike) or causal or dropout or any(kwargs.get(name) is not None for name in _NOT_HERE):
        mask = attention_mask[:, None, None] if attention_mask is not None and per_key else attention_mask
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, dropout, scaling, is_causal, **kwargs
        )
        return found
    made = attention(query, key, value, attention_mask, query.shape[-1] ** -0.5 if scaling is None else scaling)
    return made.transpose(1, 2).contiguous(), None


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:  # noqa: ANN401 - transformers' interface
    """Which keys there are, of shape (texts, length), where that is all; else the mask of torch's kernel."""
    keys: torch.Tensor | None = kwargs.get("attention_mask")
    if kwargs.get("mask_function") is not bidirectional_mask_function or (keys is not None and keys.dim() != 2):
        whole: torch.Tensor | None = sdpa_mask(*args, **kwargs)
        return whole
    return None if keys is None or keys.all() else keys.bool()
