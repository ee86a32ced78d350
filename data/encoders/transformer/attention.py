"""Attention in bf16 on a CPU as three matrix products and one exponential, for transformers' encoders.

torch's fused kernel multiplies blocks of a few dozen rows and takes exponentials in fp32: where the processor has
AVX512-BF16 but no AMX, that is half the speed of whole products and bf16 exponentials, a few texts at a time so that
their scores stay in the cache. Softmax needs each row's largest score taken off before scores are rounded to bf16, or
large ones lose their differences; here the first product finds it, and a second one takes it off in fp32, by two
columns that are appended to queries and keys.
"""

import math
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, bidirectional_mask_function, sdpa_mask

NAME = "catena_bf16"
SCORES = 700_000  # of a step, 2 bytes each: what a core's second-level cache holds
MASKED = -1e5
_NOT_HERE = ("position_bias", "softcap", "s_aux", "cache", "sliding_window")


def use_in(model: torch.nn.Module) -> None:
    """Make a transformers model compute its attention this way; one without the setting is left unchanged."""
    can = getattr(model, "_can_set_attn_implementation", None)
    if can is not None and can():
        AttentionInterface.register(NAME, _forward)
        AttentionMaskInterface.register(NAME, _mask)
        model.set_attn_implementation(NAME)  # type: ignore[operator]


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Softmax attention, every query to every key that the mask leaves.

    Args:
        query: bf16 of shape (texts, heads, length, dim), as the next two.
        key: likewise.
        value: likewise.
        mask: bool of shape (texts, length), True where there is a key; None for all of them.
        scale: of the scores.

    Returns:
        bf16 of shape (texts, heads, length, dim); not finite where a score is not.
    """
    texts, heads, length, dim = query.shape
    queries = query.new_empty(texts, heads, length, dim + 2)  # ..., minus the row's largest score, 1
    keys = query.new_empty(texts, heads, length, dim + 2)  # ..., 1, what masks the key
    queries[..., :dim], queries[..., dim], queries[..., dim + 1] = query, 0, 1
    keys[..., :dim], keys[..., dim], keys[..., dim + 1] = key, 1, 0
    if mask is not None:
        keys[..., dim + 1].masked_fill_(~mask[:, None], MASKED)
    queries, keys = queries.flatten(0, 1), keys.flatten(0, 1)
    values = value.reshape(texts * heads, length, dim)
    out = torch.empty_like(values)
    step = max(1, SCORES // length**2)
    room = query.new_empty(min(step, texts * heads), length, length)
    for start in range(0, texts * heads, step):
        part = slice(start, start + step)
        left, right = queries[part], keys[part].transpose(1, 2)
        scores = torch.bmm(left, right, out=room[: len(left)])
        left[..., dim] = -_largest(scores)
        torch.baddbmm(scores, left, right, beta=0, alpha=scale * math.log2(math.e), out=scores)
        torch.exp2(scores, out=scores)
        torch.bmm(scores, values[part], out=out[part]).div_(scores.sum(2, keepdim=True))
    return out.view(texts, heads, length, dim)


def _largest(scores: torch.Tensor) -> torch.Tensor:
    """The largest of each row: bf16 numbers compared by their bits, which is four times as fast.

    Bits of positive numbers, read as int16, are in the numbers' order and above those of negative ones, which are in
    reverse order.
    """
    bits = scores.view(torch.int16)
    largest = bits.amax(2)
    if (largest < 0).any():
        largest = torch.where(largest < 0, bits.amin(2), largest)
    return largest.view(torch.bfloat16)


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
