"""BERT's forward pass in bf16 on a CPU, in a tenth of the calls: weights packed once, no arithmetic on padding.

torch brings the weights of each bf16 product into the layout that the processor multiplies in anew at every call: a
third of the time of a short text. Here oneDNN has them in that layout from the start, the products of queries, keys and
values are one, GELU is part of the product before it, and all but attention sees the tokens of a batch one after the
other, without padding. The whole pass is one call of TorchScript, which gives Python's lock back until it is done:
threads that encode, and those that answer requests beside them, do not wait for each other after each operation.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.bert.modeling_bert import BertModel

from data.encoders.transformer.attention import Room, attend, room_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers.models.bert.modeling_bert import BertLayer

OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")  # of torch's compiler, not promised to stay
ROWS = 256  # for which oneDNN chooses the layout of the weights; it is the same for others


class Packed(NamedTuple):
    """A matrix product: its weight in oneDNN's layout, and its bias."""

    weight: Tensor
    bias: Tensor


class Norm(NamedTuple):
    """A layer norm."""

    weight: Tensor
    bias: Tensor
    eps: float


class Layer(NamedTuple):
    """The weights of a layer, in the order of their use; ``products`` are queries, keys and values side by side."""

    products: Packed
    met: Packed
    met_norm: Norm
    up: Packed
    down: Packed
    norm: Norm


class Weights(NamedTuple):
    """The weights of an encoder.

    ``places`` are the position embeddings with that of the first type of token; ``types`` what others have beside it.
    """

    words: Tensor
    places: Tensor
    types: Tensor
    norm: Norm
    layers: list[Layer]


def can_be_packed(model: torch.nn.Module) -> bool:
    """Whether a model computes as ``PackedBert`` does: a BERT encoder with exact GELU, in bf16."""
    operators = all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS) and hasattr(torch.jit, "script")
    if type(model) is not BertModel or not operators:
        return False
    config: Any = model.config
    usual = config.hidden_act == "gelu" and not config.is_decoder and not config.add_cross_attention
    return usual and model.dtype == torch.bfloat16


class PackedBert(torch.nn.Module):
    """The transformer of a sentence-transformers model, from features to ``token_embeddings``.

    Args:
        model: one that ``can_be_packed``; its products' weights are copied.
    """

    def __init__(self, model: BertModel) -> None:
        super().__init__()
        embeddings = model.embeddings
        words = embeddings.word_embeddings.weight.detach()
        types = embeddings.token_type_embeddings.weight.detach().float()
        places = (embeddings.position_embeddings.weight.detach().float() + types[0]).to(words.dtype)
        others, layers = (types - types[0]).to(words.dtype), list(map(_layer, model.encoder.layer))
        self._weights = Weights(words, places, others, _norm(embeddings.LayerNorm), layers)
        self._heads = int(model.config.num_attention_heads)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """The features with the vector of each token, bf16 of shape (texts, longest, width); of padding, zeros.

        Args:
            features: ``input_ids`` and ``attention_mask``, int64 of shape (texts, longest); ``token_type_ids`` of the
                same shape where tokens are of several types.
        """
        numbers, mask, kinds = features["input_ids"], features["attention_mask"], features.get("token_type_ids")
        room = room_for(len(numbers) * self._heads, numbers.shape[1])
        return {**features, "token_embeddings": _scripted()(numbers, mask, kinds, self._weights, self._heads, room)}


@cache
def _scripted() -> "Callable[..., Tensor]":
    made: Callable[..., Tensor] = torch.jit.script(_token_vectors)
    return made


def _token_vectors(
    numbers: Tensor, attention_mask: Tensor, kinds: Tensor | None, weights: Weights, heads: int, room: Room
) -> Tensor:
    mask = attention_mask.to(torch.bool)
    texts, longest = numbers.shape
    flat, columns = numbers.flatten(), torch.arange(longest).repeat(texts)
    keys: Tensor | None = None
    places: Tensor | None = None  # of tokens among all, padding too
    if not bool(mask.all()):
        found = mask.flatten().nonzero().squeeze(1)
        keys, places, flat, columns = mask, found, flat[found], found % longest
    states = F.embedding(flat, weights.words) + F.embedding(columns, weights.places)
    if kinds is not None:
        of_tokens = kinds.flatten()
        if places is not None:
            of_tokens = of_tokens[places]
        states = states + F.embedding(of_tokens, weights.types)
    states = _normed(states, weights.norm)
    for layer in weights.layers:
        products = _spread(_times(states, layer.products), places, texts * longest)
        query, key, value = products.view(texts, longest, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        met = attend(query, key, value, keys, query.shape[3] ** -0.5, room).transpose(1, 2).flatten(0, 1).flatten(1)
        if places is not None:
            met = met[places]
        states = _normed(_times(met, layer.met).add_(states), layer.met_norm)
        states = _normed(_times(_times_gelu(states, layer.up), layer.down).add_(states), layer.norm)
    return _spread(states, places, texts * longest).view(texts, longest, -1)


def _layer(layer: "BertLayer") -> Layer:
    parts = [layer.attention.self.query, layer.attention.self.key, layer.attention.self.value]
    products = torch.cat([part.weight for part in parts]).detach(), torch.cat([part.bias for part in parts]).detach()
    return Layer(
        products=_packed(*products),
        met=_packed_of(layer.attention.output.dense),
        met_norm=_norm(layer.attention.output.LayerNorm),
        up=_packed_of(layer.intermediate.dense),
        down=_packed_of(layer.output.dense),
        norm=_norm(layer.output.LayerNorm),
    )


def _packed(weight: Tensor, bias: Tensor) -> Packed:
    return Packed(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS), bias)


def _packed_of(linear: torch.nn.Linear) -> Packed:
    return _packed(linear.weight.detach(), linear.bias.detach())


def _norm(norm: torch.nn.LayerNorm) -> Norm:
    return Norm(norm.weight.detach(), norm.bias.detach(), norm.eps)


def _times(states: Tensor, packed: Packed) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, packed.weight, packed.bias, "none", [], "")
    return product


def _times_gelu(states: Tensor, packed: Packed) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, packed.weight, packed.bias, "gelu", [], "none")
    return product


def _normed(states: Tensor, norm: Norm) -> Tensor:
    return F.layer_norm(states, [states.shape[1]], norm.weight, norm.bias, norm.eps)


def _spread(states: Tensor, places: Tensor | None, rows: int) -> Tensor:
    """States of tokens at their places among so many rows, the others zero; all of them where places is None."""
    if places is None:
        return states
    return torch.zeros([rows, states.shape[1]], dtype=states.dtype).index_copy_(0, places, states)
