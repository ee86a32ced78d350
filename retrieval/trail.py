"""Where a document stood in each step of a search: what explains an answer, and what models rank by."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from retrieval.config import ListName
from retrieval.fused import Found
from retrieval.fusion import given
from retrieval.index import IndexQuery, Key
from retrieval.weights import Fusion


@dataclass(frozen=True)
class Place:
    """Where a step has a document.

    Attributes:
        step: ``dense`` and ``bm25`` for the lists, ``hybrid`` for both fused, ``tokens``, ``links``, ``cross-encoder``,
            ``boosted``, or the import path of a user's step.
        rank: from 1; in a list that is fused, among passages.
        score: of the step itself: cosine, BM25, sum of contributions, MaxSim, probability, …
        weight: of a list in the fusion; None for what is no list.
        contribution: of a list to the fused score (``retrieval.fusion``); the score itself where it is asked alone.
    """

    step: str
    rank: int
    score: float
    weight: float | None = None
    contribution: float | None = None


def places_in_lists(query: IndexQuery, found: Found, fusion: Fusion) -> Mapping[Key, list[Place]]:
    """Where the lists of a query have each passage.

    Args:
        query: that was asked.
        found: for it.
        fusion: of its lists.
    """
    places: dict[Key, list[Place]] = defaultdict(list)
    if not query.fused:
        name: ListName = "dense" if query.dense is not None else "bm25"
        for rank, hit in enumerate(found.hits, 1):
            places[hit.key].append(Place(name, rank, hit.score, 1.0, hit.score))
    for name, hits in found.lists.items():
        weight, gives = fusion.weights.get(name, 0.0), given(name, hits, fusion, query.prefetch).tolist()
        for rank, (hit, gave) in enumerate(zip(hits, gives, strict=True), 1):
            places[hit.key].append(Place(name, rank, hit.score, weight, gave))
    return places
