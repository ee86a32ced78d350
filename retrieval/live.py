"""An index that does not change, with a live part beside it that takes what changes.

A document of the live part hides what the index has under its id, and so does one that was deleted. Each ranked list is
asked of both, merged by score, and only then fused: cosines of both are comparable as they are, and the live part's
words weigh what they weigh in the index. What comes out is what an index of everything would find, but for the
statistics of words, which are those of the index.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil
from threading import Lock

from data.lexical import SparseVector
from retrieval.index import Hit, IndexedPassage, IndexMeta, IndexQuery, VectorIndex
from retrieval.rescoring import fused
from retrieval.terms import TermStatistics

_FURTHER = 4  # how many times deeper to look in the index where the best it has are hidden


class LiveIndex:
    """An index and a live part, asked as one. Threads may write and ask at once: each sees a write whole or not at all.

    Args:
        base: the index.
        meta: its description.
        live: an empty index of vectors of ``meta.question_dim`` dimensions, without inverse document frequencies.
        terms: of the base.
    """

    def __init__(self, base: VectorIndex, meta: IndexMeta, live: VectorIndex, terms: TermStatistics) -> None:
        self._base, self._meta, self._live, self._terms = base, meta, live, terms
        self._hidden: set[str] = set()
        self._lock = Lock()

    def upsert(self, passages: Sequence[IndexedPassage]) -> None:
        """Take the documents of some passages, all passages of each; what was there under their ids is gone."""
        ids = list(dict.fromkeys(passage.document_id for passage in passages))
        with self._lock:
            self._forget(ids)
            for start in range(0, len(passages), self._meta.config.batch_points):
                self._live.upsert(passages[start : start + self._meta.config.batch_points])

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove documents, those of the index among them; one that is not there is no error."""
        with self._lock:
            self._forget(document_ids)

    def finish(self) -> None:
        """Make the live part searchable at full speed; searches wait for it."""
        with self._lock:
            self._live.finish()

    def count(self) -> int:
        """Number of passages stored, hidden ones among them."""
        return self._meta.points + self._live.count()

    def close(self) -> None:
        """Release files and connections."""
        self._live.close()
        self._base.close()

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id."""
        with self._lock:
            if not self._hidden:
                return self._base.query_batch(queries)
            apart = [self._apart(query) for query in queries]
            lists = iter(self._lists([one for lists in apart for one in lists]))
            merged = [[next(lists) for _ in lists_of] for lists_of in apart]
            return [self._answer(query, found) for query, found in zip(queries, merged, strict=True)]

    def _forget(self, ids: Sequence[str]) -> None:
        self._hidden.update(ids)
        self._live.delete(ids)

    def _apart(self, query: IndexQuery) -> list[IndexQuery]:
        """The ranked lists of a query, each as a query of its own."""
        if not query.fused:
            return [query]
        alone = replace(query, limit=query.prefetch, fused=False, tokens=None)
        parts = []
        if query.dense is not None:
            parts.append(replace(alone, sparse=None))
        if query.sparse is not None:
            parts.append(replace(alone, dense=None))
        return parts

    def _answer(self, query: IndexQuery, lists: list["_Merged"]) -> list[Hit]:
        if not query.fused:
            return lists[0].hits
        ranked = fused({one.name: one.hits for one in lists}, self._meta.config.rrf_k)
        if query.tokens is None:
            return ranked[: query.limit]
        live = frozenset().union(*(one.live for one in lists))
        return self._by_tokens(query, [hit.passage_id for hit in ranked[: query.prefetch]], live)[: query.limit]

    def _by_tokens(self, query: IndexQuery, ids: Sequence[str], live: frozenset[str]) -> list[Hit]:
        """Passages by MaxSim, each asked of where it is."""
        scored: list[Hit] = []
        for index, wanted in (
            (self._base, tuple(id_ for id_ in ids if id_ not in live)),
            (self._live, tuple(id_ for id_ in ids if id_ in live)),
        ):
            if wanted:
                (found,) = index.query_batch([IndexQuery(len(wanted), tokens=query.tokens, among=wanted)])
                scored += found
        return _ranked(scored)

    def _lists(self, queries: Sequence[IndexQuery]) -> list["_Merged"]:
        weighted = [self._weighted(query) for query in queries]
        found = zip(queries, self._of_base(queries), self._live.query_batch(weighted), strict=True)
        return [_Merged(query, base, live) for query, base, live in found]

    def _of_base(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """What the index has for single lists, without what is hidden: deeper where that left too few."""
        answers: list[list[Hit]] = [[] for _ in queries]
        share = len(self._hidden) / max(1, self._meta.points)
        limits = {i: query.limit + min(query.limit, ceil(2 * share * query.limit)) for i, query in enumerate(queries)}
        while limits:
            asked = [replace(queries[i], limit=limit) for i, limit in limits.items()]
            found = self._base.query_batch(asked)
            limits_before, limits = limits, {}
            for (i, limit), hits in zip(limits_before.items(), found, strict=True):
                answers[i] = [hit for hit in hits if hit.payload["document_id"] not in self._hidden]
                if len(hits) >= limit and len(answers[i]) < queries[i].limit:
                    limits[i] = limit * _FURTHER
        return answers

    def _weighted(self, query: IndexQuery) -> IndexQuery:
        """A query with its words weighted as the index weighs them."""
        if query.sparse is None:
            return query
        terms, values = query.sparse
        return replace(query, sparse=SparseVector(terms, values * self._terms.idf(terms)))


class _Merged:
    """A ranked list of both parts.

    Args:
        query: what was asked, a single list.
        base: the index's hits.
        live: those of the live part.
    """

    def __init__(self, query: IndexQuery, base: list[Hit], live: list[Hit]) -> None:
        self.name = query.lists()[0][0]
        self.hits = _ranked([*base, *live])[: query.limit]
        self.live = frozenset(hit.passage_id for hit in live)


def _ranked(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))
