"""Evaluation of many long results, beside ir-measures: seconds, memory, and that the figures are equal."""

import resource
import sys
import time
from collections.abc import Iterator
from functools import cache

import numpy as np

from benchmarks.rows import Row
from data.errors import InputError
from evaluation.ranking import Ranking, evaluate_ranking

QUERIES, HITS, RELEVANT = 100_000, 1000, 10
DOCUMENTS = 100_000
BLOCK = 1000  # queries evaluated at once by either: dictionaries of all would take 10 GB
METRICS = {
    "ndcg@10": "nDCG@10",
    "recall@100": "R@100",
    "mrr": "RR",
    "map": "AP",
    "hit@1": "Success@1",
    "hit@5": "Success@5",
    "hit@10": "Success@10",
}
"""Ours, and the same in ir-measures; its RR@10 is a slower script of MS MARCO's, so MRR has no cut-off here."""

Qrels = dict[str, dict[str, int]]


def measure(queries: int = QUERIES) -> list[Row]:
    """Seconds of evaluating results of 1,000 hits, over those of ir-measures on the same dictionaries.

    Args:
        queries: in all.
    """
    grown = _memory(queries)
    seconds, theirs_s, farthest = _beside(queries)
    size = f"{queries:,} queries of {HITS:,} hits, {RELEVANT} relevant each, 7 metrics, dictionaries of strings"
    return [
        Row(
            id="evaluation.ratio",
            what=f"how many times as fast as ir-measures with pytrec_eval: {size}",
            value=round(theirs_s / seconds, 2),
            unit="times",
            at_least=3.0,
            reach=10.0,
            peer=f"ir-measures {theirs_s:.1f} s, ours {seconds:.1f} s, in turn on {BLOCK:,} queries at once; "
            f"the values of a query differ by at most {farthest:.1g}",
        ),
        Row(
            id="evaluation.memory_mb",
            what="growth of the process while it evaluates the same results as a stream, their making included",
            value=round(grown, 1),
            unit="MB",
            at_most=500.0,
        ),
    ]


def results(first: int, count: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Results of some queries: each a dictionary of documents and falling scores, of which some are tied."""
    names = _names()
    for query in range(first, first + count):
        rng = np.random.default_rng(query)
        documents = rng.choice(DOCUMENTS, HITS, replace=False).tolist()
        scores = np.sort(rng.random(HITS).round(6))[::-1].tolist()
        yield f"q{query}", dict(zip([names[n] for n in documents], scores, strict=True))


@cache
def _names() -> list[str]:
    return [f"d{n:06d}" for n in range(DOCUMENTS)]


def judgements(query: int, result: Ranking) -> dict[str, int]:
    """Relevant documents of a query: half of them in its result, grades 1 and 2; and as many judged 0."""
    rng = np.random.default_rng((query, 1))
    found = list(result)
    within = [found[n] for n in rng.integers(0, len(found), RELEVANT // 2).tolist()]
    outside = [f"x{n}" for n in range(RELEVANT // 2)]
    not_relevant = [found[n] for n in rng.integers(0, len(found), RELEVANT).tolist()]
    return dict.fromkeys(not_relevant, 0) | {document: 1 + n % 2 for n, document in enumerate([*within, *outside])}


def _memory(queries: int) -> float:
    """MB by which the process grows in an evaluation of all results, made one after another."""
    qrels = {f"q{n}": {f"d{n:06d}": 1} for n in range(queries)}
    before = _peak_mb()
    evaluate_ranking(results(0, queries), qrels, list(METRICS))
    return _peak_mb() - before


def _beside(queries: int) -> tuple[float, float, float]:
    """Seconds of ours and theirs, and by how much a value differs at most."""
    try:
        import ir_measures
    except ImportError as error:
        raise InputError(f"bench evaluation: {error}", "pip install 'catena[dev]'") from None
    measures = {name: ir_measures.parse_measure(theirs) for name, theirs in METRICS.items()}
    ours_s = theirs_s = farthest = 0.0
    for first in range(0, queries, BLOCK):
        run = dict(results(first, min(BLOCK, queries - first)))
        qrels = {query: judgements(first + n, result) for n, (query, result) in enumerate(run.items())}
        started = time.perf_counter()
        figures = evaluate_ranking(run, qrels, list(METRICS))
        between = time.perf_counter()
        values = list(ir_measures.iter_calc(list(measures.values()), qrels, run))
        ours_s, theirs_s = ours_s + between - started, theirs_s + time.perf_counter() - between
        rows = {query: row for row, query in enumerate(figures.queries)}
        by_measure = {measure: figures.per_query[name] for name, measure in measures.items()}
        farthest = max(farthest, *(abs(by_measure[v.measure][rows[v.query_id]] - v.value) for v in values))
    return ours_s, theirs_s, farthest


def _peak_mb() -> float:
    """Largest memory of this process so far, in MB; the system counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
