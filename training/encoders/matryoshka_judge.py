"""What an encoder is worth when its vectors are cut: nDCG@10 of held-out pairs at each dimension."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from evaluation.ranking import evaluate_ranking
from training.encoders.config import MatryoshkaConfig
from training.encoders.pairs import Pairs
from training.encoders.task import tokens

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Figures = dict[str, float]


def validate(model: "SentenceTransformer", pairs: Pairs, config: MatryoshkaConfig, device: torch.device) -> Figures:
    """nDCG@10 of held-out anchors at each dimension, over the documents of the held-out pairs.

    What belongs to an anchor by a training pair is taken out of its ranking. Every worker computes it for itself: the
    weights are equal, and so all workers keep the same epoch.
    """
    held_out = pairs.held_out(config.max_valid_pairs)
    model.eval()
    with torch.inference_mode():
        anchors_QW = _encode(model, held_out.anchors, device)
        documents_NW = _encode(model, held_out.documents, device)
        figures = {}
        for dim in config.dims:
            anchors_QD = nn.functional.normalize(anchors_QW[:, :dim], dim=1)
            documents_ND = nn.functional.normalize(documents_NW[:, :dim], dim=1)
            scores_QN = (anchors_QD @ documents_ND.T).cpu().numpy()
            ranked = evaluate_ranking(held_out.run(scores_QN), held_out.qrels)
            figures[f"ndcg@10[{dim}]"] = round(ranked.means["ndcg@10"], 5)
    return figures


def _encode(model: "SentenceTransformer", texts: Sequence[str], device: torch.device, size: int = 64) -> Tensor:
    """Vectors of texts before they are cut, longest texts first so that a batch is of one length."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    vectors = []
    for start in range(0, len(order), size):
        batch = [texts[i] for i in order[start : start + size]]
        vectors.append(model(tokens(model, batch, device))["sentence_embedding"].float())
    return torch.cat(vectors)[torch.argsort(torch.tensor(order))]
