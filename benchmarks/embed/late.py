"""Late interaction: MaxSim in blocks beside the naive loop and the matrix rate, and what mode late finds.

The quality figures are not gated: MiniLM was not trained for late interaction, and they are reported as they are.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, median_ratio, median_seconds
from data.partitions import read_qrels, read_table
from data.vectors.quantise import encode
from evaluation.retrieval import evaluate_retrieval
from ray_apps.config import load_run
from ray_apps.plan import Plan
from retrieval.maxsim import maxsim
from retrieval.search import open_retriever

RUNS = Path(__file__).resolve().parents[2] / "runs"
CORPORA = ("cranfield", "scifact")
EVERY = ("bm25", "dense", "hybrid")
DIM, QUERIES, QUERY_TOKENS, DOCUMENTS = 96, 8, 24, 1000
DOCUMENT_TOKENS = (60, 256)


def measure() -> list[Row]:
    """The rows of MaxSim, then nDCG@10 of mode late on each corpus beside the other modes."""
    return [*maxsim_rows(), *(quality(name) for name in CORPORA)]


def maxsim_rows() -> list[Row]:
    """Pairs of a query and a passage scored per second: float32 and int8."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(*DOCUMENT_TOKENS, DOCUMENTS)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = rng.normal(size=(starts[-1], DIM)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    queries = rng.normal(size=(QUERIES * QUERY_TOKENS, DIM)).astype(np.float32)
    query_starts = np.arange(0, len(queries) + 1, QUERY_TOKENS)
    int8 = encode(tokens, "int8")

    def naive() -> np.ndarray:
        return np.array(
            [
                [
                    (queries[q : q + QUERY_TOKENS] @ tokens[start:end].T).max(axis=1).sum()
                    for start, end in pairwise(starts)
                ]
                for q in query_starts[:-1]
            ]
        )

    def products() -> None:
        for first in range(0, len(tokens), 4096):
            queries @ tokens[first : first + 4096].T

    pairs = QUERIES * DOCUMENTS
    ratio, ours_s, naive_s = median_ratio(lambda: maxsim(queries, query_starts, tokens, starts), naive, 5)
    share, _, alone_s = median_ratio(lambda: maxsim(queries, query_starts, tokens, starts), products, 5)
    int8_s = median_seconds(lambda: maxsim(queries, query_starts, int8, starts, "int8"), 5)
    scored = f"{QUERIES} queries of {QUERY_TOKENS} tokens, {DOCUMENTS:,} passages of {lengths.mean():.0f}, {DIM} dims"
    flop = 2 * len(queries) * len(tokens) * DIM
    return [
        Row(
            id="embed.maxsim_pairs_per_s",
            what=f"pairs of query and passage scored by MaxSim per second, float32, {scored}",
            value=pairs / ours_s,
            unit="pairs/s",
            peer=f"a loop with one matrix product a pair: {pairs / naive_s:,.0f} pairs/s; int8: {pairs / int8_s:,.0f}",
        ),
        Row(
            id="embed.maxsim_speed_ratio",
            what="the same over a loop with one matrix product a pair",
            value=ratio,
            unit="times",
            at_least=1.0,
            peer=f"loop: {naive_s * 1000:.0f} ms; ours: {ours_s * 1000:.0f} ms",
        ),
        Row(
            id="embed.maxsim_share_of_matrix_rate",
            what="matrix products that MaxSim gets done per second, of what the machine does of the same products "
            "when it keeps nothing of them",
            value=100 * share,
            unit="%",
            peer=f"matrix products alone: {flop / alone_s / 1e9:,.0f} GFLOP/s, float32",
        ),
    ]


def quality(name: str) -> Row:
    """nDCG@10 of mode late, which rescores hybrid's best, beside the other modes over the same index."""
    plan = Plan(load_run(RUNS / f"{name}.yaml", ["--late.dim", str(DIM)]))
    tables = plan.bring("ingest").path
    qrels = read_qrels(tables / "qrels")
    queries = {row["id"]: row["text"] for row in read_table(tables / "queries", ["id", "text"]).to_pylist()}
    retriever = open_retriever(plan.bring("index").path, plan.run.encoder)
    figures, details = evaluate_retrieval(retriever.search, queries, qrels, plan.run.evaluate.search, (*EVERY, "late"))
    retriever.index.close()
    others = ", ".join(f"{mode} {figures[mode]['ndcg@10']:.4f}" for mode in EVERY)
    return Row(
        id=f"embed.late_{name}",
        what=f"nDCG@10 of late rescoring of hybrid's best {plan.run.index.prefetch} on {name}, "
        f"{details['queries']} queries",
        value=round(figures["late"]["ndcg@10"], 4),
        unit="nDCG@10",
        peer=others,
    )
