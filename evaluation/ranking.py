"""Figures of a ranked search result against graded relevance judgements, per query first, the mean second.

The definitions and the order of ties are those of trec_eval, so that figures can be compared with published ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Ranking = Mapping[str, float]
"""Document id -> score of one query's result; higher is better."""


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


@dataclass(frozen=True)
class _Judged:
    """Relevance as arrays: Q queries, K the longest result, R the most relevant documents of a query."""

    gains_QK: Values  # of what was retrieved, best first; 0 where a result is shorter or a document not relevant
    ideal_QR: Values  # of all relevant documents, best first, filled up with 0
    relevant_Q: Values


def evaluate_ranking(
    run: Mapping[str, Ranking], qrels: Mapping[str, Mapping[str, int]], hit_cutoffs: tuple[int, ...] = (1, 5, 10)
) -> RankingFigures:
    """nDCG@10, Recall@100, MRR@10, MAP and Hit@k of a run.

    A judged query that the run lacks counts 0; a query of the run without judgements is not counted; a document without
    a judgement is not relevant. nDCG takes the grade itself as gain and 1 / log2(rank + 1) as discount (Järvelin and
    Kekäläinen, TOIS 2002), everything else counts grades above 0 as relevant.

    Args:
        run: query id -> document id -> score.
        qrels: query id -> document id -> grade.
        hit_cutoffs: the k of Hit@k.

    Raises:
        ValueError: if no query has a relevant document.
    """
    queries = sorted(query for query, grades in qrels.items() if any(grade > 0 for grade in grades.values()))
    if not queries:
        raise ValueError("no query has a relevant document: there is nothing to judge by")
    judged = _lay_out(queries, run, qrels)
    first_Q = _first_relevant(judged.gains_QK)
    per_query = {
        "ndcg@10": _ndcg(judged, 10),
        "recall@100": (judged.gains_QK[:, :100] > 0).sum(axis=1) / judged.relevant_Q,
        "mrr@10": np.where((first_Q >= 1) & (first_Q <= 10), 1.0 / np.maximum(first_Q, 1), 0.0),
        "map": _average_precision(judged),
        **{f"hit@{k}": hit_rate(first_Q, k) for k in hit_cutoffs},
    }
    return RankingFigures(queries, per_query, without_relevant=len(qrels) - len(queries))


def hit_rate(ranks_Q: npt.NDArray[np.int64], k: int) -> Values:
    """Whether each query's first relevant document is among the top k.

    Hit@k, also called success@k (Voorhees, TREC-8, 1999).

    Args:
        ranks_Q: 1-based rank of the first relevant document of each of Q queries; 0 where none was retrieved.
        k: cut-off, at least 1.

    Returns:
        float64 (Q,), 1.0 or 0.0. The mean over queries is the reported figure.

    Raises:
        ValueError: if k is smaller than 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return ((ranks_Q >= 1) & (ranks_Q <= k)).astype(np.float64)


def _lay_out(queries: list[str], run: Mapping[str, Ranking], qrels: Mapping[str, Mapping[str, int]]) -> _Judged:
    results = [run.get(query, {}) for query in queries]
    lengths = np.array([len(result) for result in results])
    row = np.repeat(np.arange(len(queries)), lengths)
    documents = np.array([document for result in results for document in result], dtype=np.str_)
    scores = np.array([score for result in results for score in result.values()], dtype=np.float32)
    gains = np.array(
        [
            max(qrels[query].get(document, 0), 0)
            for query, result in zip(queries, results, strict=True)
            for document in result
        ],
        dtype=np.float64,
    )
    # trec_eval: by score as a 32-bit float, ties by document id, both descending
    _, document_order = np.unique(documents, return_inverse=True)
    order = np.lexsort((-document_order, -scores, row))
    column = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    gains_QK = np.zeros((len(queries), int(lengths.max(initial=0))))
    gains_QK[row[order], column] = gains[order]

    relevant = [sorted((grade for grade in qrels[query].values() if grade > 0), reverse=True) for query in queries]
    relevant_Q = np.array([len(grades) for grades in relevant], np.float64)
    ideal_QR = np.zeros((len(queries), int(relevant_Q.max())))
    for number, grades in enumerate(relevant):
        ideal_QR[number, : len(grades)] = grades
    return _Judged(gains_QK, ideal_QR, relevant_Q)


def _first_relevant(gains_QK: Values) -> npt.NDArray[np.int64]:
    """1-based rank of the first relevant document, 0 where there is none."""
    found = gains_QK > 0
    return (
        np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0) if found.shape[1] else np.zeros(len(found), np.int64)
    )


def _ndcg(judged: _Judged, k: int) -> Values:
    return _dcg(judged.gains_QK[:, :k]) / _dcg(judged.ideal_QR[:, :k])


def _dcg(gains: Values) -> Values:
    discounted: Values = gains @ (1.0 / np.log2(np.arange(gains.shape[1]) + 2.0))
    return discounted


def _average_precision(judged: _Judged) -> Values:
    """Mean over all relevant documents of the precision at their rank, 0 for those not retrieved."""
    found = judged.gains_QK > 0
    precision = found.cumsum(axis=1) / (np.arange(found.shape[1]) + 1.0)
    total: Values = (precision * found).sum(axis=1) / judged.relevant_Q
    return total
