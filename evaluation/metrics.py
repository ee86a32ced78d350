"""Metrics of ranked results by their names, such as ``ndcg@10``, ``recall@100``, ``p@5``, ``map`` and ``rprec``.

The definitions are those of trec_eval, so that figures can be compared with published ones. nDCG is graded, the others
are binary: every grade above 0 is relevant. ``(rel=2)`` in a name counts documents of grade 2 and above as relevant,
all alike, and no others: ``recall(rel=2)@100``, and ``ndcg(rel=1)@10`` is the binary nDCG. A query without such a
document counts 0 then.

Shapes: Q queries, E relevant documents of all queries together.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.errors import nearest

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

DEFAULT_METRICS = ("ndcg@10", "recall@100", "mrr@10", "map", "hit@1", "hit@5", "hit@10")

_NAME = re.compile(r"([a-z]+)(?:\(rel=([1-9]\d*)\))?(?:@([1-9]\d*))?")
_NO_CUTOFF = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Ranked:
    """Relevant documents at their ranks, by query and then by rank.

    Attributes:
        query_E: row of the query, int64.
        rank_E: rank of the document, from 1, int64.
        grade_E: its grade, above 0, float64.
    """

    query_E: Numbers
    rank_E: Numbers
    grade_E: Values

    def of_grade(self, least: int) -> "Ranked":
        """Those of a grade of at least ``least``, at the same ranks, their grades 1."""
        kept = self.grade_E >= least
        return Ranked(self.query_E[kept], self.rank_E[kept], np.ones(int(kept.sum())))


@dataclass(frozen=True)
class Judged:
    """Where the relevant documents of Q queries are: all that a metric needs.

    Attributes:
        queries: ids of the queries, sorted.
        found: the relevant documents that the results have.
        ideal: all relevant documents, each query's in the order of their grades, the best first.
        without_relevant: queries left out because no document is relevant to them: no figure is defined there.
    """

    queries: list[str]
    found: Ranked
    ideal: Ranked
    without_relevant: int

    @property
    def relevant_Q(self) -> Values:
        """Number of relevant documents of each query."""
        return _sums(self.ideal, np.ones(len(self.ideal.query_E)), len(self.queries))

    def of_grade(self, least: int) -> "Judged":
        """The same where documents of a grade of at least ``least`` are relevant, all alike."""
        return Judged(self.queries, self.found.of_grade(least), self.ideal.of_grade(least), self.without_relevant)


@dataclass(frozen=True)
class Metric:
    """One metric; called with what was judged, it gives float64 (Q,), whose mean is the reported figure.

    Attributes:
        name: as the configuration and tables have it.
        title: as people write it.
        measure: name of the measure.
        cutoff: rank beyond which nothing counts; None where all ranks do.
        least: smallest grade that is relevant, all alike; None where grades above 0 are, as the measure takes them.
    """

    name: str
    title: str
    measure: str
    cutoff: int | None
    least: int | None

    def __call__(self, judged: Judged) -> Values:
        """Values of the queries, in the order of ``judged.queries``."""
        at_all = judged if self.least is None else judged.of_grade(self.least)
        return _MEASURES[self.measure].values(at_all, self.cutoff or _NO_CUTOFF)


def parse_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        ValueError: if there is none: the nearest measure is named, or what its cut-off must be.
    """
    matched = _NAME.fullmatch(name)
    word = matched[1] if matched else re.split(r"[^a-z]", name.lower())[0]
    if word not in _MEASURES:
        raise ValueError(f"unknown metric {name!r}; {nearest(word, _MEASURES)}, as in ndcg@10, map or rprec")
    if matched is None:
        raise ValueError(f"metric {name!r} is not of the form {word}@10 or {word}(rel=2)@10")
    measure, least, cutoff = _MEASURES[word], matched[2], matched[3]
    if measure.cutoff == "needed" and cutoff is None:
        raise ValueError(f"metric {name!r} needs a cut-off, such as {word}@10")
    if measure.cutoff == "none" and cutoff is not None:
        raise ValueError(f"metric {name!r} takes no cut-off: write {name.partition('@')[0]}")
    title = measure.title + (f"@{cutoff}" if cutoff else "") + (f", grade {least}+" if least else "")
    return Metric(name, title, word, int(cutoff) if cutoff else None, int(least) if least else None)


def _sums(ranked: Ranked, weight_E: Values | npt.NDArray[np.bool_], queries: int) -> Values:
    """Sum of the documents' weights by query: float64 (Q,)."""
    return np.bincount(ranked.query_E, weights=weight_E, minlength=queries).astype(np.float64)


def _ratio(part: Values, whole: Values) -> Values:
    """Part of the whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _place_E(found: Ranked) -> Numbers:
    """Place of each document among the found ones of its query, from 1."""
    first = np.searchsorted(found.query_E, found.query_E, side="left")
    return np.arange(1, len(found.query_E) + 1) - first


def _ndcg(judged: Judged, k: int) -> Values:
    """Gain is the grade, the discount 1 / log2(rank + 1) (Järvelin and Kekäläinen, TOIS 2002)."""

    def dcg(ranked: Ranked) -> Values:
        gain_E = ranked.grade_E * (ranked.rank_E <= k) / np.log2(ranked.rank_E + 1.0)
        return _sums(ranked, gain_E, len(judged.queries))

    return _ratio(dcg(judged.found), dcg(judged.ideal))


def _found_within(judged: Judged, k: int) -> Values:
    return _sums(judged.found, judged.found.rank_E <= k, len(judged.queries))


def _recall(judged: Judged, k: int) -> Values:
    return _ratio(_found_within(judged, k), judged.relevant_Q)


def _precision(judged: Judged, k: int) -> Values:
    """Divided by k, where the result is shorter too."""
    return _found_within(judged, k) / k


def _hit(judged: Judged, k: int) -> Values:
    """Whether a relevant document is among the first k, also called success@k (Voorhees, TREC-8, 1999)."""
    return (_found_within(judged, k) > 0).astype(np.float64)


def _reciprocal_rank(judged: Judged, k: int) -> Values:
    """1 / rank of the first relevant document (Voorhees, TREC-8, 1999), 0 beyond rank k."""
    found = judged.found
    return _sums(found, ((_place_E(found) == 1) & (found.rank_E <= k)) / found.rank_E, len(judged.queries))


def _average_precision(judged: Judged, k: int) -> Values:
    """Mean over all relevant documents of the precision at their rank, 0 for those not found within k."""
    found = judged.found
    total = _sums(found, (found.rank_E <= k) * _place_E(found) / found.rank_E, len(judged.queries))
    return _ratio(total, judged.relevant_Q)


def _r_precision(judged: Judged, k: int) -> Values:
    """Precision at rank R of a query with R relevant documents."""
    found, relevant_Q = judged.found, judged.relevant_Q
    return _ratio(_sums(found, found.rank_E <= relevant_Q[found.query_E], len(judged.queries)), relevant_Q)


@dataclass(frozen=True)
class _Measure:
    title: str
    values: Callable[[Judged, int], Values]
    cutoff: Literal["needed", "optional", "none"]


_MEASURES = {
    "ndcg": _Measure("nDCG", _ndcg, "optional"),
    "recall": _Measure("Recall", _recall, "needed"),
    "p": _Measure("Precision", _precision, "needed"),
    "mrr": _Measure("MRR", _reciprocal_rank, "optional"),
    "map": _Measure("MAP", _average_precision, "optional"),
    "hit": _Measure("Hit", _hit, "needed"),
    "rprec": _Measure("R-precision", _r_precision, "none"),
}
