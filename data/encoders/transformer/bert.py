"""BERT's forward pass in bf16 on a CPU, in a tenth of the calls: weights packed once, no arithmetic on padding.

torch brings the weights of each bf16 product into the layout that the processor multiplies in anew at every call: a
third of the time of a short text. Here oneDNN has them in that layout from the start, the products of queries, keys and
values are one, GELU is part of the product before it, and all but attention sees the tokens of a batch one after the
other, without padding. Fewer calls from Python also mean fewer turns of waiting for its lock where other threads run.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers.models.bert.modeling_bert import BertModel

from data.encoders.transformer.attention import attention

if TYPE_CHECKING:
    from transformers.models.bert.modeling_bert import BertLayer

Norm = tuple[torch.Tensor, torch.Tensor, float]
OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")  # of torch's compiler, not promised to stay
ROWS = 256  # for which oneDNN chooses the layout of the weights; it is the same for others
Then = tuple[str, list[float], str]  # what oneDNN does to a product, and its parameters
_GELU: Then = ("gelu", [], "none")
_PLAIN: Then = ("none", [], "")


def can_be_packed(model: torch.nn.Module) -> bool:
    """Whether a model computes as ``PackedBert`` does: a BERT encoder with exact GELU, in bf16."""
    if type(model) is not BertModel or not all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS):
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
        self._words = embeddings.word_embeddings.weight.detach()
        types = embeddings.token_type_embeddings.weight.detach()  # all tokens are of the first type
        self._places = (embeddings.position_embeddings.weight.detach().float() + types[0].float()).to(self._words.dtype)
        self._norm = _norm(embeddings.LayerNorm)
        self._heads = int(model.config.num_attention_heads)
        self._layers = [_Layer(layer) for layer in model.encoder.layer]

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """The features with the vector of each token, bf16 of shape (texts, longest, width); of padding, zeros.

        Args:
            features: ``input_ids`` and ``attention_mask``, int64 of shape (texts, longest).
        """
        numbers, mask = features["input_ids"], features["attention_mask"].bool()
        texts, longest = numbers.shape
        keys = None if bool(mask.all()) else mask
        places = None if keys is None else keys.flatten().nonzero()[:, 0]  # of tokens among all, padding too
        columns = torch.arange(longest).repeat(texts) if places is None else places % longest
        flat = numbers.flatten() if places is None else numbers.flatten()[places]
        states = _normed(F.embedding(flat, self._words) + F.embedding(columns, self._places), self._norm)
        for layer in self._layers:
            found = layer.products(states)
            found = _spread(found, places, texts * longest).view(texts, longest, 3, self._heads, -1)
            query, key, value = found.permute(2, 0, 3, 1, 4)
            met = attention(query, key, value, keys, query.shape[-1] ** -0.5).transpose(1, 2).flatten(0, 1).flatten(1)
            states = layer.after(met if places is None else met[places], states)
        vectors = _spread(states, places, texts * longest).view(texts, longest, -1)
        return {**features, "token_embeddings": vectors}


class _Layer:
    """Weights of one layer, packed."""

    def __init__(self, layer: "BertLayer") -> None:
        parts = [layer.attention.self.query, layer.attention.self.key, layer.attention.self.value]
        self._products = _packed(
            torch.cat([part.weight for part in parts]).detach(), torch.cat([part.bias for part in parts]).detach()
        )
        self._met, self._met_norm = _packed_of(layer.attention.output.dense), _norm(layer.attention.output.LayerNorm)
        self._up, self._down = _packed_of(layer.intermediate.dense), _packed_of(layer.output.dense)
        self._norm = _norm(layer.output.LayerNorm)

    def products(self, states: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values side by side, (tokens, 3 widths)."""
        return _times(states, self._products)

    def after(self, met: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The layer's states from those that attention brought together and those before it, (tokens, width) each."""
        states = _normed(_times(met, self._met).add_(states), self._met_norm)
        wide = _times(states, self._up, _GELU)
        return _normed(_times(wide, self._down).add_(states), self._norm)


Packed = tuple[torch.Tensor, torch.Tensor]


def _packed(weight: torch.Tensor, bias: torch.Tensor) -> Packed:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS), bias


def _packed_of(linear: torch.nn.Linear) -> Packed:
    return _packed(linear.weight.detach(), linear.bias.detach())


def _times(states: torch.Tensor, packed: Packed, then: Then = _PLAIN) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, *packed, *then)
    return product


def _norm(norm: torch.nn.LayerNorm) -> Norm:
    return norm.weight.detach(), norm.bias.detach(), norm.eps


def _normed(states: torch.Tensor, norm: Norm) -> torch.Tensor:
    return F.layer_norm(states, states.shape[-1:], *norm)


def _spread(states: torch.Tensor, places: torch.Tensor | None, rows: int) -> torch.Tensor:
    """States of tokens at their places among so many rows, the others zero; all of them where places is None."""
    return states if places is None else states.new_zeros(rows, states.shape[1]).index_copy_(0, places, states)
