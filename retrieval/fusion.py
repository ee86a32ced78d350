"""Fusing ranked lists: what each list gives to the score of a passage.

A list is as deep as it was asked for (``depth``); a passage that it lacks gets nothing of it. L lists, N hits of one.

- ``sum``: the weight times the score, scaled so that the list's best has 1 and its last 0 ("relative score fusion";
  Lee, SIGIR 1997, has it as CombSUM). A shorter list of words ends with passages that have one of them, so that 0 is
  where none is. Of the methods here it loses least where one list is much worse, as its order is not all that counts.
- ``rrf``: 1 / (k + rank / weight), reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009) with weights as
  Qdrant has them.
- ``dbsf``: the weight times the score less three standard deviations below the list's mean, over six of them
  ("distribution-based score fusion", as Qdrant has it).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from retrieval.config import IndexConfig, ListName
from retrieval.index import Hit, Key, Trust
from retrieval.weights import EQUAL, Fusion

Values = npt.NDArray[np.float64]


def fusion_of(config: IndexConfig, trust: Trust | None) -> Fusion:
    """How an index's lists are fused: by the weights of its configuration, else by how far each is trusted."""
    weights: Mapping[ListName, float] = config.weights or (EQUAL if trust is None else trust.weights)
    return Fusion.scaled(config.fusion, weights, config.rrf_k)


def given(name: ListName, hits: Sequence[Hit], fusion: Fusion, depth: int) -> Values:
    """What a list gives to each of its passages, float64 (N,).

    Args:
        name: of the list.
        hits: of it, best first.
        fusion: how it counts.
        depth: hits that it was asked for.
    """
    weight = fusion.weights.get(name, 0.0)
    if not hits or weight == 0:
        return np.zeros(len(hits))
    if fusion.method == "rrf":
        return 1 / (fusion.k + np.arange(1, len(hits) + 1) / weight)
    scores = np.array([hit.score for hit in hits], np.float64)
    if fusion.method == "dbsf":
        spread = 6 * float(scores.std(ddof=1)) if len(hits) > 1 else 0.0
        return weight * (0.5 + (scores - scores.mean()) / spread if spread > 0 else np.full(len(hits), 0.5))
    last = 0.0 if name == "bm25" and len(hits) < depth else scores[-1]
    return weight * ((scores - last) / (scores[0] - last) if scores[0] > last else np.ones(len(hits)))


def fuse(lists: Mapping[ListName, Sequence[Hit]], fusion: Fusion, depth: int) -> list[tuple[Key, float]]:
    """Keys and scores of all passages, best first; ties by key.

    Args:
        lists: hits by the name of their list, best first.
        fusion: how they count.
        depth: hits that each list was asked for.
    """
    scores: dict[Key, float] = defaultdict(float)
    for name, hits in lists.items():
        for hit, gives in zip(hits, given(name, hits, fusion, depth).tolist(), strict=True):
            scores[hit.key] += gives
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
