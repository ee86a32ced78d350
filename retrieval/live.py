"""An index that does not change, with a live part beside it that takes what changes.

A document of the live part hides what the index has under its id, and so does one that was deleted. Each ranked list is
asked of both and merged by score before lists are fused: cosines of both are comparable as they are, and the live
part's words weigh what they weigh in the index. What comes out is what an index of everything would find, but for the
statistics of words, which are those of the index.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from data.lexical import SparseVector
from retrieval.index import Hit, IndexedPassage, IndexMeta, IndexQuery, Key, VectorIndex, ranked
from retrieval.terms import TermStatistics

_FURTHER = 4  # how many times deeper to look in the index where the best it has are hidden


class LiveIndex:
    """An index and a live part, asked as one. Threads may write and ask at once: each sees a document whole.

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
        by_document: dict[str, list[IndexedPassage]] = {}
        for passage in passages:
            by_document.setdefault(passage.document_id, []).append(passage)
        some: dict[str, list[IndexedPassage]] = {}
        for id_, of_document in by_document.items():  # searches get their turn between batches
            some[id_] = of_document
            if sum(map(len, some.values())) >= self._meta.config.batch_points:
                self._put(some)
                some = {}
        if some:
            self._put(some)

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

    def payloads(self, keys: Sequence[Key]) -> dict[Key, Mapping[str, Any]]:
        """What passages were stored with, by their keys; one that is not there is left out."""
        with self._lock:
            live = self._live.payloads(keys)
            left = [key for key in keys if key not in live]
            base = self._base.payloads(left) if left else {}
            return live | {key: of for key, of in base.items() if of["document_id"] not in self._hidden}

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id."""
        with self._lock:
            if not self._hidden:
                return self._base.query_batch(queries)
            live = self._live.query_batch([self._weighted(query) for query in queries])
            both = zip(queries, self._of_base(queries), live, strict=True)
            return [ranked([*base, *of_live])[: query.limit] for query, base, of_live in both]

    def _put(self, documents: Mapping[str, list[IndexedPassage]]) -> None:
        with self._lock:
            self._forget(list(documents))
            self._live.upsert([passage for of_document in documents.values() for passage in of_document])

    def _forget(self, ids: Sequence[str]) -> None:
        self._hidden.update(ids)
        self._live.delete(ids)

    def _of_base(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """What the index has for single lists, without what is hidden: deeper where that left too few."""
        answers: list[list[Hit]] = [[] for _ in queries]
        limits = {i: query.limit + query.limit // 8 + 4 for i, query in enumerate(queries)}
        while limits:
            asked = [_named(replace(queries[i], limit=limit)) for i, limit in limits.items()]
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


def _named(query: IndexQuery) -> IndexQuery:
    """A query whose hits say at least which documents they are of."""
    return replace(query, payload="brief") if query.payload == "none" else query
