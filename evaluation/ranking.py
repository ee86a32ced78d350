"""Figures of a ranked search result against graded relevance judgements, per query first, the mean second.

Only the ranks of relevant documents matter to a metric, so a result is looked at once, and nothing of it is kept but
those: any number of queries is judged in the memory of one result at a time.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics import DEFAULT_METRICS, Judged, Numbers, Ranked, Values, parse_metric

Ranking = Mapping[str, float]
"""Document id -> score of one query's result; higher is better."""
Run = Mapping[str, Ranking] | Iterable[tuple[str, Ranking]]
"""Result of each query, by its id; or a stream of them, of which one at a time is held."""
Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade."""


@dataclass(frozen=True)
class RankingFigures:
    """Figures of one system.

    Attributes:
        queries: ids of the Q judged queries, sorted.
        per_query: metric -> float64 (Q,), in the order of ``queries``.
        without_relevant: queries left out because no document is relevant to them: no figure is defined there.
    """

    queries: list[str]
    per_query: dict[str, Values]
    without_relevant: int

    @property
    def means(self) -> dict[str, float]:
        """Mean of each metric over the judged queries."""
        return {name: float(values.mean()) for name, values in self.per_query.items()}


def evaluate_ranking(run: Run, qrels: Qrels, metrics: Sequence[str] = DEFAULT_METRICS) -> RankingFigures:
    """Metrics of a run, as of ``judge_ranking``.

    Args:
        run: results by query.
        qrels: judgements.
        metrics: names as of ``evaluation.metrics``.

    Raises:
        ValueError: if no query has a relevant document, a metric is unknown, a query has two results, or a score is
            not a number.
    """
    return figures_of(judge_ranking(run, qrels), metrics)


def figures_of(judged: Judged, metrics: Sequence[str] = DEFAULT_METRICS) -> RankingFigures:
    """Metrics of what was judged.

    Raises:
        ValueError: if a metric is unknown.
    """
    per_query = {name: parse_metric(name)(judged) for name in metrics}
    return RankingFigures(judged.queries, per_query, judged.without_relevant)


def judge_ranking(run: Run, qrels: Qrels) -> Judged:
    """Where the relevant documents are in the results.

    A judged query that the run lacks has found nothing; a query of the run without judgements is not counted; a
    document without a judgement is not relevant. Documents are ranked by score as a 32-bit float, equal scores by
    document id, both descending: the order of trec_eval.

    Args:
        run: results by query.
        qrels: judgements.

    Raises:
        ValueError: if no query has a relevant document, a query has two results, or a score is not a number.
    """
    relevant = {query: {document: g for document, g in grades.items() if g > 0} for query, grades in qrels.items()}
    queries = sorted(query for query, grades in relevant.items() if grades)
    if not queries:
        raise ValueError("no query has a relevant document: there is nothing to judge by")
    rows = {query: row for row, query in enumerate(queries)}
    answered = np.zeros(len(queries), np.bool_)
    row_E, rank_E, grade_E = array("q"), array("q"), array("d")
    for query, result in run.items() if isinstance(run, Mapping) else run:
        row = rows.get(query)
        if row is None:
            continue
        if answered[row]:
            raise ValueError(f"query {query!r} has two results")
        answered[row] = True
        found = [document for document in relevant[query] if document in result]
        if found:
            row_E.extend([row] * len(found))
            rank_E.extend(_ranks(query, result, found).tolist())
            grade_E.extend(relevant[query][document] for document in found)
    return Judged(
        queries,
        _in_order(np.array(row_E, np.int64), np.array(rank_E, np.int64), np.array(grade_E)),
        _ideal([sorted(relevant[query].values(), reverse=True) for query in queries]),
        without_relevant=len(qrels) - len(queries),
    )


def recall_curve(judged: Judged, depth: int) -> Values:
    """Mean recall at each k from 1 to ``depth``: float64 (depth,)."""
    found = judged.found
    within = found.rank_E <= depth
    share_E = 1.0 / judged.relevant_Q[found.query_E[within]]
    by_rank = np.bincount(found.rank_E[within] - 1, weights=share_E, minlength=depth)
    curve: Values = by_rank.cumsum() / len(judged.queries)
    return curve


def _ranks(query: str, result: Ranking, wanted: Sequence[str]) -> Numbers:
    """Ranks of some of a result's documents, counted from the sorted scores: the documents need not be sorted."""
    with np.errstate(over="ignore"):  # a score beyond 32 bits is infinite, as in trec_eval
        scores = np.array(list(result.values()), np.float64).astype(np.float32)
        own = np.array([result[document] for document in wanted], np.float64).astype(np.float32)
    ordered = np.sort(scores)
    if np.isnan(ordered[-1]):  # sorted last
        raise ValueError(f"a score in the result of query {query!r} is not a number")
    below = np.searchsorted(ordered, own, side="left")
    not_above = np.searchsorted(ordered, own, side="right")
    ranks: Numbers = len(scores) - not_above + 1
    tied = np.flatnonzero(not_above - below > 1)
    if len(tied):
        names = list(result)
        for n in tied.tolist():
            ranks[n] += sum(names[place] > wanted[n] for place in np.flatnonzero(scores == own[n]).tolist())
    return ranks


def _in_order(row_E: Numbers, rank_E: Numbers, grade_E: Values) -> Ranked:
    order = np.lexsort((rank_E, row_E))
    return Ranked(row_E[order], rank_E[order], grade_E[order])


def _ideal(grades: list[list[int]]) -> Ranked:
    """The best result that there could be; grades of each query, best first."""
    lengths = np.array([len(of_one) for of_one in grades])
    ends = lengths.cumsum()
    rank_E = np.arange(1, ends[-1] + 1) - np.repeat(ends - lengths, lengths)
    grade_E = np.array([grade for of_one in grades for grade in of_one], np.float64)
    return Ranked(np.repeat(np.arange(len(grades)), lengths), rank_E, grade_E)
