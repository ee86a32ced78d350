"""What a question has found: documents, each by the best of its passages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from data.metadata import Metadata
from retrieval.index import Hit, Key
from retrieval.trail import Place


@dataclass(frozen=True)
class SearchHit:
    """A document that was found, by its best passage; where that one has a parent, text and span are the parent's.

    ``trail`` is where it stood in each step so far, in their order; of the lists where the query is traced.
    """

    document_id: str
    passage_id: str
    title: str
    text: str
    start: int
    end: int
    score: float
    metadata: Metadata
    trail: tuple[Place, ...] = ()

    def placed(self, step: str, rank: int, score: float) -> "SearchHit":
        """The same document where a step puts it."""
        return replace(self, score=score, trail=(*self.trail, Place(step, rank, score)))


def best_passages(
    hits: Iterable[Hit], wanted: int | None = None, places: Mapping[Key, Sequence[Place]] = MappingProxyType({})
) -> list[SearchHit]:
    """Each document once, by its best passage, in the order of the hits.

    Args:
        hits: passages.
        wanted: documents at most; all where None.
        places: of them in lists, by their keys.
    """
    best: dict[str, Hit] = {}
    for hit in hits:
        if wanted is not None and len(best) >= wanted:
            break
        best.setdefault(hit.payload["document_id"], hit)
    return [_shown(hit, places.get(hit.key, ())) for hit in best.values()]


def _shown(hit: Hit, places: Sequence[Place]) -> SearchHit:
    """A passage as an answer has it: in the place of one that has a parent, the parent."""
    stored = hit.payload
    parent: Mapping[str, Any] | None = stored.get("parent")
    stretch = stored if parent is None else parent
    return SearchHit(
        document_id=stored["document_id"],
        passage_id=stored["passage_id"] if parent is None else parent["id"],
        title=stored["title"],
        text=stretch["text"],
        start=stretch["start"],
        end=stretch["end"],
        score=hit.score,
        metadata=stored["metadata"],
        trail=tuple(places),
    )
