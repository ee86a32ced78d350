"""A BERT cross-encoder in bf16 without padding, and whether it puts documents in the same order."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.encoders.transformer.precision import whole_products_are_faster

if TYPE_CHECKING:
    import torch

Forward = Callable[[dict[str, Any]], "torch.Tensor"]
"""Features of n pairs, padded, to their logits (n, 1)."""

LEAST_AGREEMENT = 0.99  # share of pairs of sample scores that bf16 must leave in the order of fp32
TELLING = 0.02  # scores nearer than this share of the range of all may change places


def packed_form(model: Any) -> Forward | None:  # noqa: ANN401 - any of transformers
    """The form with packed weights, its head in fp32; None where the model has none, or this processor gains nothing.

    It takes the weights as they are now.
    """
    from transformers.models.bert.modeling_bert import BertForSequenceClassification

    if type(model) is not BertForSequenceClassification or not whole_products_are_faster(model.device.type):
        return None
    import torch

    from data.encoders.transformer.bert import PackedBert, can_be_packed

    trunk = copy.deepcopy(model.bert).to(torch.bfloat16)
    if not can_be_packed(trunk):
        return None
    packed, pooler, classifier = PackedBert(trunk), model.bert.pooler, model.classifier

    def forward(features: "dict[str, torch.Tensor]") -> "torch.Tensor":
        first = packed(features)["token_embeddings"][:, :1].float()  # the pooler reads the first token alone
        logits: torch.Tensor = classifier(pooler(first))
        return logits

    return forward


def order_agreement(reference: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """Share of pairs of scores that two forms of a model put in the same order.

    Kendall's tau scaled to 0–1, over pairs that are further apart than ``TELLING`` of the range of all scores: the
    order of two documents of the same score means nothing.

    Args:
        reference: (n,) scores of one form.
        other: (n,) of the other.

    Returns:
        0.0 to 1.0; 1.0 where no two scores are far enough apart.
    """
    apart = reference[:, None] - reference[None]
    told = np.abs(apart) > TELLING * float(np.ptp(reference))
    same = np.sign(apart) == np.sign(other[:, None] - other[None])
    return float(same[told].mean()) if told.any() else 1.0
