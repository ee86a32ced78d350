"""Search evaluated on the corpus's own questions: every mode gets the same ones, in batches."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from data.progress import progress
from evaluation.config import SearchJudging
from evaluation.ranking import RankingFigures, evaluate_ranking
from evaluation.significance import paired_difference
from retrieval.config import Mode
from retrieval.search import SearchHit

Search = Callable[[Sequence[str], Any, int], Sequence[Sequence[SearchHit]]]
"""Queries, name of a pipeline (a mode among them) and number of documents -> the hits of each query, best first."""

MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")


def evaluate_retrieval(
    search: Search,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    config: SearchJudging,
    modes: Sequence[str] = MODES,
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Judge the modes of search.

    Args:
        search: what is judged.
        queries: query id -> text.
        qrels: query id -> document id -> grade.
        config: depth, batch size and resamples.
        modes: pipelines to judge, hybrid among them.

    Returns:
        The table, mode -> figures; and the details: judged queries, those left out because nothing is relevant to them,
        and the comparisons of hybrid with the others on nDCG@10.

    Raises:
        ValueError: if no query has a relevant document.
    """
    asked = {
        query: text for query, text in queries.items() if any(grade > 0 for grade in qrels.get(query, {}).values())
    }
    judged: dict[str, RankingFigures] = {}
    for mode in modes:
        run: dict[str, dict[str, float]] = {}
        remaining = iter(asked.items())
        with progress(f"evaluate {mode}", len(asked), "queries") as counted:
            while batch := list(islice(remaining, config.batch_queries)):
                answers = search([text for _, text in batch], mode, config.retrieved)
                for (query, _), hits in zip(batch, answers, strict=True):
                    run[query] = _by_place(hits)
                counted.advance(len(batch))
        judged[mode] = evaluate_ranking(run, {query: qrels[query] for query in asked})
    hybrid = judged["hybrid"].per_query["ndcg@10"]
    details = {
        "queries": len(asked),
        "without_relevant": len(queries) - len(asked),
        "comparisons": {
            mode: paired_difference(hybrid, judged[mode].per_query["ndcg@10"], config.resamples, config.seed)
            for mode in modes
            if mode != "hybrid"
        },
    }
    return {mode: figures.means for mode, figures in judged.items()}, details


def _by_place(hits: Sequence[SearchHit]) -> dict[str, float]:
    """Scores that keep the order as served: fused scores tie, and a tie is not for the metric to break again."""
    return {hit.document_id: -float(place) for place, hit in enumerate(hits)}
