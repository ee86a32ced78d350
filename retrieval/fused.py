"""An index whose lists are fused here.

Engines fuse by ranks, or by scores without weights; and what comes from several indexes, or is rescored, they cannot
fuse at all. So each list is asked for apart, all of a batch in one request, by keys and scores; then texts
are handed over for the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from retrieval.config import ListName
from retrieval.fusion import fuse
from retrieval.index import Hit, IndexQuery, Key, VectorIndex, in_order
from retrieval.weights import Fusion

Lists = Mapping[ListName, Sequence[Hit]]


@dataclass(frozen=True)
class Found:
    """What an index has for a question.

    Attributes:
        hits: best first.
        lists: that were fused, by name; empty where one alone was asked for.
    """

    hits: list[Hit]
    lists: Lists = field(default_factory=dict)


class FusedIndex:
    """Answers questions by the lists of an index.

    Args:
        index: that is asked for single lists.
        fusion: how they become one.
    """

    def __init__(self, index: VectorIndex, fusion: Fusion) -> None:
        self._index, self.fusion = index, fusion

    def count(self) -> int:
        """Number of passages stored, exactly."""
        return self._index.count()

    def close(self) -> None:
        """Release files and connections."""
        self._index.close()

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id."""
        return [found.hits for found in self.found(queries)]

    def found(self, queries: Sequence[IndexQuery]) -> list[Found]:
        """The same with the lists that were fused, whose hits have keys and scores alone."""
        apart = [query.lists() if query.fused else {} for query in queries]
        asked = [
            one for query, of in zip(queries, apart, strict=True) for one in (of.values() if query.fused else [query])
        ]
        answers = iter(self._index.query_batch(asked) if asked else [])
        found = [
            Found([], {name: next(answers) for name in of}) if query.fused else Found(next(answers))
            for query, of in zip(queries, apart, strict=True)
        ]
        places = [place for place, query in enumerate(queries) if query.fused]
        best = [
            fuse(found[place].lists, queries[place].fusion or self.fusion, queries[place].prefetch) for place in places
        ]
        for place, hits in zip(places, self._whole([queries[place] for place in places], best), strict=True):
            found[place] = replace(found[place], hits=hits)
        return found

    def lists(self, queries: Sequence[IndexQuery]) -> list[Lists]:
        """The lists of fused queries, whose hits say which documents they are of."""
        apart = [query.lists() for query in queries]
        asked = [replace(one, payload="brief") for of in apart for one in of.values()]
        answers = iter(self._index.query_batch(asked) if asked else [])
        return [{name: next(answers) for name in of} for of in apart]

    def _whole(self, queries: Sequence[IndexQuery], fused: Sequence[list[tuple[Key, float]]]) -> list[list[Hit]]:
        """The best of each fused list with their payloads; where a query has token vectors, in their order."""
        by_tokens = [
            IndexQuery(
                query.limit,
                tokens=query.tokens,
                among=tuple(key for key, _ in best[: query.rescored or query.prefetch]),
            )
            for query, best in zip(queries, fused, strict=True)
            if query.tokens is not None and best
        ]
        rescored = iter(self._index.query_batch(by_tokens) if by_tokens else [])
        shown = [
            [] if query.tokens is not None else best[: query.limit] for query, best in zip(queries, fused, strict=True)
        ]
        named = {key for best in shown for key, _ in best}
        payloads = self._index.payloads(list(named)) if named else {}  # without those deleted since
        return [
            next(rescored)
            if query.tokens is not None and best
            else in_order([Hit(key, score, payloads[key]) for key, score in some if key in payloads])
            for query, best, some in zip(queries, fused, shown, strict=True)
        ]
