"""Search evaluated on the corpus's own questions: every mode gets the same ones, in batches."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from data.progress import progress
from evaluation.config import SearchJudging
from evaluation.losses import win_loss, worst_losses
from evaluation.metrics import Judged
from evaluation.ranking import Qrels, Ranking, RankingFigures, figures_of, judge_ranking, recall_curve
from evaluation.significance import compare_systems
from retrieval.hits import SearchHit
from retrieval.query import SearchQuery

Search = Callable[[Sequence[str], Any, int], Sequence[Sequence[SearchHit]]]
"""Queries, name of a pipeline and number of documents -> the hits of each query, best first."""

CURVE = 100  # depth of the recall curves
ENCODED_AT_ONCE = 512  # questions: batches of like length keep every core busy


def evaluate_retrieval(
    search: Search,
    queries: Mapping[str, str],
    qrels: Qrels,
    config: SearchJudging,
    modes: Sequence[str] = ("bm25", "dense", "hybrid"),
    default: str = SearchQuery.mode,
    encode: Callable[[Sequence[str]], object] | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Judge the modes of search.

    Args:
        search: what is judged.
        queries: query id -> text.
        qrels: query id -> document id -> grade.
        config: metrics, depth, batch size and resamples.
        modes: pipelines to judge.
        default: the mode that a user gets by default, one of ``modes``; the others are held against it.
        encode: encodes questions, and ``search`` then finds their vectors: modes that share an encoder need each once.

    Returns:
        The table, mode -> metric -> mean; and the details: ``default``; ``metric``, the first one, which decides;
        ``queries`` judged, those left out (``without_judgements``, ``without_relevant``) and the judged ones that have
        no text (``without_text``); ``intervals`` of the table and ``comparisons`` (``compare_systems``); by mode
        ``win_loss`` against the default, the ``recall_curve`` from k = 1 on, ``losses`` (``worst_losses``) and
        ``milliseconds``, median and 95th percentile of a query's share of its batch, and where ``encode`` is given the
        same of encoding it, ``encoding_ms``, which is then no part of the others.

    Raises:
        ValueError: if no query has a relevant document.
    """
    asked = {
        query: queries[query] for query in sorted(queries) if any(grade > 0 for grade in qrels.get(query, {}).values())
    }
    of_asked = {query: qrels[query] for query in asked}
    encoding = _encoded(encode, list(asked.values())) if encode is not None and asked else []
    judged: dict[str, Judged] = {}
    spent: dict[str, list[float]] = {mode: [] for mode in modes}
    for mode in modes:
        judged[mode] = judge_ranking(_answers(search, asked, mode, config, spent[mode]), of_asked)
    figures: dict[str, RankingFigures] = {mode: figures_of(found, config.metrics) for mode, found in judged.items()}
    metric = config.metrics[0]
    values = {mode: figures[mode].per_query[metric] for mode in modes}
    ordered = [default, *(mode for mode in modes if mode != default)]
    intervals, comparisons = compare_systems(
        {mode: figures[mode].per_query for mode in ordered}, config.resamples, config.seed
    )
    without_judgements = sum(query not in qrels for query in queries)
    details = {
        "default": default,
        "metric": metric,
        "queries": len(asked),
        "without_judgements": without_judgements,
        "without_relevant": len(queries) - without_judgements - len(asked),
        "without_text": sum(query not in queries for query in qrels),
        "intervals": intervals,
        "comparisons": comparisons,
        "win_loss": {mode: win_loss(values[mode], values[default]) for mode in ordered[1:]},
        "recall_curve": {
            mode: recall_curve(found, min(CURVE, config.retrieved)).round(6).tolist() for mode, found in judged.items()
        },
        "losses": worst_losses(search, asked, qrels, values, default, config.retrieved),
        "milliseconds": {mode: _milliseconds(spent[mode]) for mode in modes},
    }
    if encoding:
        details["encoding_ms"] = _milliseconds(encoding)
    return {mode: figures[mode].means for mode in modes}, details


def _encoded(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> list[float]:
    """Seconds that each question's encoding took, its share of those that were encoded with it."""
    encode(texts[:1])
    spent: list[float] = []
    with progress("evaluate: encoding", len(texts), "queries") as counted:
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            some = texts[start : start + ENCODED_AT_ONCE]
            started = time.perf_counter()
            encode(some)
            spent += [(time.perf_counter() - started) / len(some)] * len(some)
            counted.advance(len(some))
    return spent


def _answers(
    search: Search, asked: Mapping[str, str], mode: str, config: SearchJudging, spent: list[float]
) -> Iterator[tuple[str, Ranking]]:
    """Each query's result, batch by batch; the seconds of a query go to ``spent``.

    The first query is asked once before, so that nothing is loaded while seconds are counted.
    """
    search(list(islice(asked.values(), 1)), mode, config.retrieved)
    remaining = iter(asked.items())
    with progress(f"evaluate {mode}", len(asked), "queries") as counted:
        while batch := list(islice(remaining, config.batch_queries)):
            started = time.perf_counter()
            answers = search([text for _, text in batch], mode, config.retrieved)
            spent += [(time.perf_counter() - started) / len(batch)] * len(batch)
            for (query, _), hits in zip(batch, answers, strict=True):
                yield query, _by_place(hits)
            counted.advance(len(batch))


def _by_place(hits: Sequence[SearchHit]) -> dict[str, float]:
    """Scores that keep the order as served: fused scores tie, and a tie is not for the metric to break again."""
    return {hit.document_id: -float(place) for place, hit in enumerate(hits)}


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    median, high = np.percentile(seconds, [50, 95])
    return {"median": round(1000 * float(median), 3), "p95": round(1000 * float(high), 3)}
