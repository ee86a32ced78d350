"""`catena index check`: whether the run's index finds what a comparison with every vector finds, and how fast."""

import argparse
import logging
import sys
from typing import Any

import numpy as np

from data.partitions import count_rows, read_table
from ray_apps.command import Command, Parser, Result, positive
from ray_apps.encoder.check import usable_encoder
from ray_apps.ingest import INGEST
from ray_apps.plan import Plan

logger = logging.getLogger("catena")

K = 10


def check(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the run's index by some of the corpus's questions, or by its passages where there are none.

    The index is built first where it is missing.

    Returns:
        ``run``, ``artifact`` and ``index``: ``recall@10``, ``p50_ms`` and ``p99_ms`` of a question whose vector is
        known, ``asked_by`` (``queries`` or ``passages``), ``questions``, ``points`` that the index holds, ``passages``
        of the run, ``search`` (``exact`` or ``graph``), ``quantisation``, and ``passed``.
    """
    from retrieval.check import exact_nearest, measure_index, sample_vectors, vector_blocks
    from retrieval.open import open_index, read_meta
    from retrieval.question_encoders import query_encoders

    artifact = plan.bring("index").path
    meta = read_meta(artifact)
    vectors = plan.bring("embed" if meta.full_dim is not None else plan.vectors).path / "vectors"
    texts = _questions(plan, arguments.questions, arguments.seed)
    if texts:
        asked = query_encoders(meta, usable_encoder(plan)).whole.encode_queries(texts)
    else:
        asked = sample_vectors(vectors, arguments.questions, arguments.seed)
    index = open_index(artifact)
    try:
        figures = measure_index(index, asked, exact_nearest(asked, vector_blocks(vectors), K), K)
        points = index.count()
    finally:
        index.close()
    passages = count_rows(plan.bring("chunk").path / "passages")
    checked = {
        f"recall@{K}": figures.recall,
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        "asked_by": "queries" if texts else "passages",
        "questions": len(asked),
        "points": points,
        "passages": passages,
        "search": "exact" if points < meta.config.exact_below_points else "graph",
        "quantisation": meta.config.quantisation,
        "passed": figures.recall >= arguments.least and points == passages,
    }
    _report(checked, arguments.least)
    return {"run": plan.run.name, "index": checked, "artifact": str(artifact)}


def _questions(plan: Plan, most: int, seed: int) -> list[str]:
    """Texts of some of the corpus's questions, drawn with the seed; empty where it has none."""
    plan.bring("ingest")
    ingested = plan.result(INGEST)
    if ingested is None or not ingested.queries:
        return []
    texts = read_table(plan.artifact("ingest").path / "queries", ["text"])["text"].to_pylist()
    chosen = np.random.default_rng(seed).choice(len(texts), min(most, len(texts)), replace=False)
    return [texts[row] for row in np.sort(chosen)]


def _report(checked: Result, least: float) -> None:
    """Log what did not pass, with what could change it."""
    if checked[f"recall@{K}"] < least:
        logger.error(
            "index check: recall@%d is %.4f, below %.4f\n  Raise index.hnsw_ef, or index.oversampling where there is a "
            "quantisation; then index.hnsw_m.",
            K,
            checked[f"recall@{K}"],
            least,
        )
    if checked["points"] != checked["passages"]:
        logger.error(
            "index check: the index holds %s passages, the run has %s\n  Delete the index artifact and run again.",
            f"{checked['points']:,}",
            f"{checked['passages']:,}",
        )


def _share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share


def _words(parser: Parser) -> None:
    parser.add_argument(
        "--least", type=_share, default=0.95, metavar="R", help="smallest recall@10 that passes (default: 0.95)"
    )
    parser.add_argument("--questions", type=positive, default=200, metavar="N", help="to ask (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of questions (default: 0)")


COMMAND = Command(
    name="index check",
    summary="recall@10 and latency of the index beside exact search; exit code 1 where it does not pass",
    call=check,
    words=_words,
    sections=("source", "encoder", "embed", "reduce", "index"),
    passed=lambda result: bool(result["index"]["passed"]),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["index", "check", *sys.argv[1:]]))
