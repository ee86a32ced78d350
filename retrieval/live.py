"""An index that does not change, with a live part beside it that takes what changes.

A document of the live part hides what the index has under its id, and so does one that was deleted. Each ranked list is
asked of both, merged by score, and only then fused: cosines of both are comparable as they are, and the live part's
words weigh what they weigh in the index. What comes out is what an index of everything would find, but for the
statistics of words, which are those of the index.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Lock

from data.lexical import SparseVector
from retrieval.index import Hit, IndexedPassage, IndexMeta, IndexQuery, VectorIndex
from retrieval.rescoring import fused
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

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id."""
        with self._lock:
            if not self._hidden:
                return self._base.query_batch(queries)
            apart = [self._apart(query) for query in queries]
            lists = iter(self._lists([one for lists in apart for one in lists]))
            merged = [[next(lists) for _ in lists_of] for lists_of in apart]
            return [self._answer(query, found) for query, found in zip(queries, merged, strict=True)]

    def _put(self, documents: Mapping[str, list[IndexedPassage]]) -> None:
        with self._lock:
            self._forget(list(documents))
            self._live.upsert([passage for of_document in documents.values() for passage in of_document])

    def _forget(self, ids: Sequence[str]) -> None:
        self._hidden.update(ids)
        self._live.delete(ids)

    def _apart(self, query: IndexQuery) -> list[IndexQuery]:
        """The ranked lists of a query, each as a query of its own."""
        if not query.fused:
            return [query]
        alone = replace(query, limit=query.prefetch, fused=False, tokens=None, brief=True)
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
        live = frozenset().union(*(one.live for one in lists))
        if query.tokens is not None:
            by_tokens = IndexQuery(query.limit, tokens=query.tokens)
            return _ranked(self._among(by_tokens, ranked[: query.prefetch], live))[: query.limit]
        best = ranked[: query.limit]
        side = replace(lists[0].query, limit=len(best), filter=None, brief=False)  # any that finds them: for payloads
        whole = {hit.passage_id: hit.payload for hit in self._among(side, best, live)}
        for one in lists[1:]:
            left = [hit for hit in best if hit.passage_id not in whole]
            side = replace(one.query, limit=len(left), filter=None, brief=False)
            whole |= {hit.passage_id: hit.payload for hit in self._among(side, left, live)}
        return [replace(hit, payload=whole[hit.passage_id]) for hit in best]

    def _among(self, query: IndexQuery, found: Sequence[Hit], live: frozenset[str]) -> list[Hit]:
        """A query on some hits, each asked of where it is."""
        answers: list[Hit] = []
        for index, here in ((self._base, False), (self._live, True)):
            ids = tuple(hit.passage_id for hit in found if (hit.passage_id in live) is here)
            if ids:
                answers += index.query_batch([replace(query, among=ids)])[0]
        return answers

    def _lists(self, queries: Sequence[IndexQuery]) -> list["_Merged"]:
        weighted = [self._weighted(query) for query in queries]
        found = zip(queries, self._of_base(queries), self._live.query_batch(weighted), strict=True)
        return [_Merged(query, base, live) for query, base, live in found]

    def _of_base(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """What the index has for single lists, without what is hidden: deeper where that left too few."""
        answers: list[list[Hit]] = [[] for _ in queries]
        limits = {i: query.limit + query.limit // 8 + 4 for i, query in enumerate(queries)}
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
        self.name, self.query = query.lists()[0][0], query
        merged = _ranked([*base, *live])[: query.limit]
        self.hits = [replace(hit, place=place) for place, hit in enumerate(merged)]
        self.live = frozenset(hit.passage_id for hit in live)


def _ranked(hits: Iterable[Hit]) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))
