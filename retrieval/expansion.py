"""Expansion: a question's best documents let those that they are linked to count for more, and bring in the missing.

One step of spreading activation (Crestani, Artificial Intelligence Review, 1997) over the graph of links with the
symmetric normalisation D^(-1/2) W D^(-1/2): a link counts by its weight over the roots of all weight at either end, so
that a document which everything links to gains little by each link. Q questions, S seeds of all of them, N documents
that seeds are linked to.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from retrieval.clauses import Clause, Every, Match, clause
from retrieval.config import LinkKind
from retrieval.filter_keys import DOCUMENT_ID
from retrieval.hits import SearchHit, best_passages
from retrieval.index import Hit, IndexMeta, IndexQuery
from retrieval.query import SearchQuery
from retrieval.steps import ExpandStep
from retrieval.terms import bm25_of

Vectors = npt.NDArray[np.float32]

KINDS: Mapping[str, tuple[LinkKind, ...]] = {
    "known": ("known",),
    "discovered": ("discovered",),
    "both": ("known", "discovered"),
}
"""Links that a step follows, by what it says."""
LEAST_STRENGTH: Mapping[LinkKind, float] = {"known": 0.0, "discovered": 1.0}
"""What a document's links weigh at least together: a lone link of probability 0.1 is no sure one."""
_FURTHER = 4  # times as many documents are asked for where a filter may refuse some


class Links(Protocol):
    """What knows the links of documents, without direction, and none of a document to itself."""

    def links_of(self, ids: Collection[str], kind: LinkKind) -> Mapping[str, Sequence[tuple[str, float]]]:
        """Other end and weight, above 0, of each document's links, an end once; ids without links may be absent."""

    def strengths(self, ids: Collection[str], kind: LinkKind) -> Mapping[str, float]:
        """All weight of each document's links together; ids without links may be absent."""


class LinkExpander:
    """Follows links in the process that holds the index: an ``Expander`` of ``retrieval.search``.

    Args:
        ask: the index's ``query_batch``.
        meta: its description.
        links: of its documents.
    """

    def __init__(self, ask: Callable[[Sequence[IndexQuery]], list[list[Hit]]], meta: IndexMeta, links: Links) -> None:
        self._ask, self._meta, self._links, self._bm25 = ask, meta, links, bm25_of(meta)

    def expand(
        self,
        queries: Sequence[SearchQuery],
        vectors: Sequence[Vectors | None],
        found: Sequence[Sequence[SearchHit]],
    ) -> list[list[SearchHit]]:
        """What was found with what it is linked to, best first: all of it, and some documents more.

        Each query's ``expand`` says how: a document's score becomes its own, 0 where it was not found, plus ``weight``
        times the sum over the best ``depth`` of their scores times the normalised weights of their links to it. At most
        ``most`` documents are added. One that is added passes the query's filter and is shown by its best passage.

        Args:
            queries: Q of them, each with a step of expansion.
            vectors: of each, float32 (dim,); None where it is asked by words, and so are the passages then.
            found: documents of each, best first.
        """
        steps = [_step(query) for query in queries]
        gains = self._gains(steps, found)
        wanted = [self._missing(*one) for one in zip(queries, steps, found, gains, strict=True)]
        added = self._best_passages(queries, vectors, wanted)
        return [
            _in_order(hits, more[: step.most], gain, query.traced)
            for query, step, hits, more, gain in zip(queries, steps, found, added, gains, strict=True)
        ]

    def _gains(self, steps: Sequence[ExpandStep], found: Sequence[Sequence[SearchHit]]) -> list[dict[str, float]]:
        """What links add to documents' scores, by question."""
        gains: list[dict[str, float]] = [{} for _ in steps]
        for links in {step.expand for step in steps}:
            places = [place for place, step in enumerate(steps) if step.expand == links]
            best = [found[place][: steps[place].depth] for place in places]
            seeds = [{hit.document_id: max(hit.score, 0.0) for hit in hits} for hits in best]
            for place, given in zip(places, spread(self._links, KINDS[links], seeds), strict=True):
                gains[place] = {id_: steps[place].weight * value for id_, value in given.items()}
        return gains

    def _missing(
        self, query: SearchQuery, step: ExpandStep, found: Sequence[SearchHit], gains: Mapping[str, float]
    ) -> list[str]:
        """Documents to look for, those first that gain most: more where the filter may refuse some."""
        has = {hit.document_id for hit in found}
        missing = sorted((id_ for id_, gain in gains.items() if id_ not in has and gain > 0), key=_by(gains))
        return missing[: step.most if clause(query.filter, self._meta.filter_keys) is None else _FURTHER * step.most]

    def _best_passages(
        self, queries: Sequence[SearchQuery], vectors: Sequence[Vectors | None], wanted: Sequence[Sequence[str]]
    ) -> list[list[SearchHit]]:
        """Of each question the documents that it wants, by their best passages; one request for all of them."""
        asked: list[IndexQuery] = []
        places: list[int] = []
        for place, (query, vector, ids) in enumerate(zip(queries, vectors, wanted, strict=True)):
            sparse = self._bm25.query(query.text) if vector is None else None
            if ids and (sparse is None or len(sparse.indices)):
                one = IndexQuery(1, vector, sparse, filter=clause(query.filter, self._meta.filter_keys))
                asked += [replace(one, filter=_of_document(id_, one.filter)) for id_ in ids]
                places += [place] * len(ids)
        added: list[list[SearchHit]] = [[] for _ in queries]
        for place, hits in zip(places, self._ask(asked) if asked else [], strict=True):
            added[place] += best_passages(hits)
        return added


def spread(links: Links, kinds: Sequence[LinkKind], seeds: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """What seeds give to the documents that they are linked to, by question.

    Args:
        links: that are followed.
        kinds: of links, each normalised for itself.
        seeds: scores of a question's seeds, 0 or more, by their ids; Q of them.

    Returns:
        Of each question, by document: the sum over its seeds of score times normalised weight.
    """
    ids = list(dict.fromkeys(id_ for of_one in seeds for id_ in of_one))
    ends: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    shares: list[float] = []
    for kind in kinds:
        linked = links.links_of(ids, kind)
        strengths = links.strengths([*ids, *{other for some in linked.values() for other, _ in some}], kind)
        strength = {id_: max(whole, LEAST_STRENGTH[kind]) for id_, whole in strengths.items()}
        for row, id_ in enumerate(ids):
            for other, weight in linked.get(id_, ()):
                rows.append(row)
                columns.append(ends.setdefault(other, len(ends)))
                shares.append(weight / (strength[id_] * strength[other]) ** 0.5)
    if not ends:
        return [{} for _ in seeds]
    links_SN = sp.csr_array((shares, (rows, columns)), (len(ids), len(ends)))  # a pair of both kinds adds up
    number = {id_: row for row, id_ in enumerate(ids)}
    scored = [(question, number[id_], score) for question, of_one in enumerate(seeds) for id_, score in of_one.items()]
    questions, places, scores = zip(*scored, strict=True)
    given_QN = sp.csr_array((scores, (questions, places)), (len(seeds), len(ids))) @ links_SN
    names = list(ends)
    starts = zip(given_QN.indptr[:-1].tolist(), given_QN.indptr[1:].tolist(), strict=True)
    return [
        {names[n]: value for n, value in zip(given_QN.indices[a:b].tolist(), given_QN.data[a:b].tolist(), strict=True)}
        for a, b in starts
    ]


def _of_document(id_: str, filter_: Clause | None) -> Clause:
    document = Match(DOCUMENT_ID, (id_,))
    return document if filter_ is None else Every((document, filter_))


def _by(gains: Mapping[str, float]) -> Callable[[str], tuple[float, str]]:
    return lambda id_: (-gains[id_], id_)


def _step(query: SearchQuery) -> ExpandStep:
    assert query.expand is not None, "only such queries are expanded"
    return query.expand


def _in_order(
    found: Sequence[SearchHit], added: Sequence[SearchHit], gains: Mapping[str, float], traced: bool
) -> list[SearchHit]:
    """Both by their new scores; of equal ones, what was found first as it was found."""
    scored = [replace(hit, score=hit.score + gains.get(hit.document_id, 0.0)) for hit in found]
    scored += [replace(hit, score=gains[hit.document_id]) for hit in added]
    scored.sort(key=lambda hit: -hit.score)
    if not traced:
        return scored
    return [hit.placed("links", rank, hit.score) for rank, hit in enumerate(scored, 1)]
