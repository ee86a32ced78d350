"""A cross-encoder trained on SciFact's training questions: what it adds to hybrid search, and how fast it is.

Training takes half an hour on two cores, so it is measured where it is named.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row
from data.encoders.config import BATCH_TOKENS
from data.partitions import read_qrels, read_table
from evaluation.ranking import RankingFigures, evaluate_ranking
from evaluation.significance import paired_difference
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from retrieval.cross_encoder import CrossEncoderModel
from retrieval.hits import SearchHit
from retrieval.pairs import Pair
from retrieval.pipelines import PipelineSearch
from retrieval.reranking import Reranker, hit_text
from retrieval.search import Retriever, open_retriever
from retrieval.steps import RERANKED, every_pipeline

RUNS = Path(__file__).resolve().parents[1] / "runs"
RECIPE = (
    *("--ranker.depth", "30"),
    *("--ranker.list-documents", "6"),
    *("--ranker.rank-prior", "2"),
    *("--ranker.optimizer.learning-rate", "8e-5"),
    *("--ranker.optimizer.accumulate", "1"),
    *("--ranker.optimizer.epochs", "4"),
    *("--ranker.optimizer.precision", "bf16"),
)
DEPTH, ROUNDS, TIMED = 100, 3, 256


def measure() -> list[Row]:
    """nDCG@10 of the test with and without the ranker, and its pairs a second beside ``CrossEncoder.predict``."""
    plan = Plan(load_run(RUNS / "scifact.yaml", RECIPE))
    folder = plan.bring("ranker").path / "trained"
    tables = plan.artifact("ingest").path
    qrels = read_qrels(tables / "qrels")
    asked = {row["id"]: row["text"] for row in read_table(tables / "queries", ["id", "text"]).to_pylist()}
    retriever = open_retriever(plan.artifact("index").path, usable_encoder(plan))
    try:
        pipelines = every_pipeline({}, late=False, depth=plan.run.ranker.depth)
        search = PipelineSearch(
            retriever, pipelines, {"cross-encoder": Reranker.open(str(folder), "ranker.model")}
        ).search
        figures = {}
        for pipeline in ("hybrid", RERANKED):
            found = search(list(asked.values()), pipeline, DEPTH)
            figures[pipeline] = evaluate_ranking(_run(list(asked), found), qrels)
        return [_quality(figures["hybrid"], figures[RERANKED]), _speed(folder, retriever, list(asked.values()))]
    finally:
        retriever.index.close()


def _quality(hybrid: RankingFigures, reranked: RankingFigures) -> Row:
    before, after = (one.per_query["ndcg@10"] for one in (hybrid, reranked))
    told = paired_difference(after, before)
    return Row(
        id="reranking.scifact",
        what=f"nDCG@10 on SciFact's {len(before)} test questions, hybrid search put in order by a cross-encoder "
        "trained on the training questions",
        value=round(float(after.mean()), 4),
        unit="nDCG@10",
        at_least=round(1.02 * float(before.mean()), 4),
        reach=0.74,
        peer=f"hybrid {before.mean():.4f}; difference {told['difference']:+.4f} ({told['difference_low']:+.4f} to "
        f"{told['difference_high']:+.4f}), paired randomisation p = {told['p_value']:.4f}",
    )


def _speed(folder: Path, retriever: Retriever, asked: Sequence[str]) -> Row:
    """Pairs a second: ours on all cores beside sentence-transformers' own, turn by turn."""
    from sentence_transformers import CrossEncoder

    found = retriever.search(asked[:8], "hybrid", TIMED // 8)
    pairs: list[Pair] = [(text, hit_text(hit), None) for text, hits in zip(asked, found, strict=False) for hit in hits]
    ours = CrossEncoderModel(str(folder), BATCH_TOKENS, "ranker.model", torch.get_num_threads())
    ours.check()
    theirs = CrossEncoder(str(folder))
    plain = [(question, text) for question, text, _ in pairs]
    work: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.score(pairs),
        "theirs": lambda: theirs.predict(plain, show_progress_bar=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(ROUNDS + 1):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if round_:
                seconds[name].append(time.perf_counter() - started)
    rates = {name: len(pairs) / float(np.median(of_one)) for name, of_one in seconds.items()}
    return Row(
        id="reranking.speed_ratio",
        what=f"pairs a second of the ranker in {ours.precision} on {len(pairs)} claims with abstracts, as a multiple "
        "of CrossEncoder.predict with its defaults",
        value=round(rates["ours"] / rates["theirs"], 2),
        unit="times",
        at_least=2.0,
        peer=f"ours {rates['ours']:.1f} pairs/s, CrossEncoder.predict {rates['theirs']:.1f}",
    )


def _run(ids: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> dict[str, dict[str, float]]:
    """Results by query, in the order in which they were found."""
    return {
        id_: {hit.document_id: -float(place) for place, hit in enumerate(hits)}
        for id_, hits in zip(ids, found, strict=True)
    }
