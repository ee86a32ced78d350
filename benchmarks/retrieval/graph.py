"""The graph that a large index is searched by, beside exact search; and what codes of the vectors lose and save."""

import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.retrieval.vectors import DIM, block, clustered, filled, verses
from benchmarks.rows import Row
from data.vectors.quantise import Floats
from retrieval.check import Block, IndexFigures, exact_nearest, measure_index
from retrieval.config import IndexConfig, Quantisation

K = 10
QUESTIONS = 1_000
MILLION = 1_000_000


@dataclass(frozen=True)
class Searched:
    """An index of some vectors, measured: figures, seconds to fill it, and bytes of a vector in memory."""

    figures: IndexFigures
    seconds: float
    bytes_each: float

    def __str__(self) -> str:
        return (
            f"p50 {self.figures.p50_ms:.2f} ms, p99 {self.figures.p99_ms:.2f} ms, filled in {self.seconds:.0f} s, "
            f"{self.bytes_each:,.0f} bytes a vector in memory"
        )


def measure_hnsw() -> list[Row]:
    """Recall on verses and on as many synthetic vectors; verses ask that are not in the index."""
    asked, stored = held_out(verses())
    (_, questions), *_ = clustered(QUESTIONS, 1, len(stored))
    verses_found = search([block(stored)], asked)
    synthetic_found = search(list(clustered(len(stored), 0)), questions)
    synthetic = f"{len(stored):,} synthetic vectors in clusters"
    return [
        _recall_row("hnsw_31k", f"{len(stored):,} verses, asked by {QUESTIONS:,} others", verses_found),
        _recall_row("hnsw_31k_synthetic", synthetic, synthetic_found),
    ]


def measure_million() -> list[Row]:
    """Recall on a million synthetic vectors: ten minutes and 4 GB of memory on two cores."""
    (_, questions), *_ = clustered(QUESTIONS, 1, MILLION)
    exact = exact_nearest(questions, clustered(MILLION, 0), K)
    searched = search(clustered(MILLION, 0), questions, exact=exact)
    return [_recall_row("hnsw_1m", f"{MILLION:,} synthetic vectors in clusters", searched)]


def measure_quantisation() -> list[Row]:
    """Recall on verses by each kind of codes, after rescoring by the vectors."""
    asked, stored = held_out(verses())
    exact = exact_nearest(asked, [block(stored)], K)
    rows = []
    for kind in get_args(Quantisation):
        searched = search([block(stored)], asked, kind, exact)
        rows.append(
            Row(
                id=f"retrieval.quantised_{kind}",
                what=f"recall@{K} of codes '{kind}', rescored, {len(stored):,} verses, asked by {QUESTIONS:,} others",
                value=searched.figures.recall,
                unit=f"recall@{K}",
                peer=f"{searched}; float32: {4 * DIM:,} bytes",
            )
        )
    return rows


def held_out(vectors: Floats) -> tuple[Floats, Floats]:
    """Some vectors to ask by, and the others to be found."""
    chosen = np.zeros(len(vectors), bool)
    chosen[np.random.default_rng(0).choice(len(vectors), QUESTIONS, replace=False)] = True
    return vectors[chosen], vectors[~chosen]


def search(
    blocks: Iterable[Block],
    questions: Floats,
    quantisation: Quantisation = "none",
    exact: list[frozenset[str]] | None = None,
) -> Searched:
    """Fill an index, have its graph built however small it is, and ask it.

    Args:
        blocks: what it holds; a list where ``exact`` is None, for it is read twice.
        questions: float32 (Q, dim).
        quantisation: codes of the vectors.
        exact: what is to be found; computed where None.
    """
    if exact is None:
        exact = exact_nearest(questions, blocks, K)
    config = IndexConfig(exact_below_points=0, quantisation=quantisation)
    with tempfile.TemporaryDirectory() as folder:
        index, seconds = filled(Path(folder, "index"), blocks, config)
        with closing(index):
            figures = measure_index(index, questions, exact, K)
            coded = sum(file.stat().st_size for file in Path(folder).rglob("quantized.*"))
            return Searched(figures, seconds, coded / index.count() if coded else 4.0 * DIM)


def _recall_row(name: str, what: str, searched: Searched) -> Row:
    return Row(
        id=f"retrieval.{name}",
        what=f"recall@{K} of the index's graph beside exact search: {what}",
        value=searched.figures.recall,
        unit=f"recall@{K}",
        at_least=0.98,
        reach=0.995,
        peer=str(searched),
    )
