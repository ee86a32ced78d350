"""Search quality on BEIR-format sets, ours beside the plain way: bm25s, a matrix product, and RRF of the two."""

import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from data.encoders.protocol import Encoder
from data.partitions import read_qrels, read_table
from data.passages.text import passage_text
from evaluation.ranking import evaluate_ranking
from evaluation.retrieval import evaluate_retrieval
from ray_apps.config import load_run
from ray_apps.plan import Plan
from retrieval.search import open_retriever

RUNS = Path(__file__).resolve().parents[1] / "runs"
AT_LEAST = {"cranfield": 0.42, "scifact": 0.68}
DEPTH = 100


def measure() -> list[Row]:
    """nDCG@10 of hybrid search on Cranfield and SciFact, compared with BM25, dense and the naive way; a cold search."""
    return [*(_row(name, at_least) for name, at_least in AT_LEAST.items()), _cold_search("cranfield")]


def _cold_search(name: str) -> Row:
    """Seconds from the command to its answer in a new process, on a finished run: median of five."""
    command = [sys.executable, "-m", "ray_apps.search", str(RUNS / f"{name}.yaml"), "boundary layer", "--top-k", "3"]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=RUNS.parent)
        seconds.append(time.perf_counter() - started)
    return Row(
        id="retrieval.search_cold_s",
        what=f"`catena search` on the finished run {name}, cold: a new process loads the encoder and opens the index",
        value=round(statistics.median(seconds), 2),
        unit="s",
        at_most=6.0,
    )


def _row(name: str, at_least: float) -> Row:
    plan = Plan(load_run(RUNS / f"{name}.yaml"))
    tables, passages, vectors = (
        plan.bring("ingest").path,
        plan.bring("chunk").path / "passages",
        plan.bring("embed").path / "vectors",
    )
    qrels = read_qrels(tables / "qrels")
    asked = read_table(tables / "queries", ["id", "text"]).to_pylist()
    queries = {query["id"]: query["text"] for query in asked if query["id"] in qrels}

    retriever = open_retriever(plan.bring("index").path, plan.run.encoder)
    figures, _ = evaluate_retrieval(retriever.search, queries, qrels, plan.run.evaluate.search)
    retriever.index.close()
    assert retriever.encoder is not None
    plain = _plain(passages, vectors, queries, retriever.encoder)
    peer = {mode: evaluate_ranking(ranking, qrels).means["ndcg@10"] for mode, ranking in plain.items()}
    return Row(
        id=f"retrieval.{name}",
        what=f"nDCG@10 of hybrid search on {name}, {len(queries)} queries",
        value=round(figures["hybrid"]["ndcg@10"], 4),
        unit="nDCG@10",
        at_least=at_least,
        peer=f"ours: {_listed({mode: figures[mode]['ndcg@10'] for mode in ('bm25', 'dense')})}; "
        f"bm25s, dot product, RRF k=60: {_listed(peer)}",
    )


def _plain(
    passages: Path, vectors: Path, queries: Mapping[str, str], encoder: Encoder
) -> dict[str, dict[str, dict[str, float]]]:
    """What a page of Python gives: bm25s with its English stop-words, a matrix product, and RRF of their top 100."""
    import bm25s

    table = read_table(passages, ["document_id", "title", "text"]).to_pylist()
    ids = [row["document_id"] for row in table]
    texts = [passage_text(row["title"], row["text"]) for row in table]
    ranker = bm25s.BM25(k1=1.2, b=0.75)
    ranker.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(queries.values()), stopwords="en", show_progress=False)
    by_words, _ = ranker.retrieve(asked, k=DEPTH, show_progress=False)
    matrix = np.stack(read_table(vectors, ["vector"])["vector"].to_pylist()).astype(np.float32)
    by_vectors = np.argsort(-(encoder.encode(list(queries.values())) @ matrix.T), axis=1, kind="stable")[:, :DEPTH]
    rankings: dict[str, dict[str, dict[str, float]]] = {"bm25": {}, "dense": {}, "hybrid": {}}
    for query, words, nearest in zip(queries, by_words.tolist(), by_vectors.tolist(), strict=True):
        for mode, lists in (("bm25", [words]), ("dense", [nearest]), ("hybrid", [words, nearest])):
            fused: dict[str, float] = defaultdict(float)
            for ranked in lists:
                for rank, row in enumerate(ranked, start=1):
                    fused[ids[row]] += 1 / (60 + rank)
            rankings[mode][query] = dict(fused)
    return rankings


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{mode} {figure:.4f}" for mode, figure in figures.items())
