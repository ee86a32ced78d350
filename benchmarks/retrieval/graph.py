"""The graph that a large index is searched by, beside exact search; and what codes of the vectors lose and save."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.retrieval.vectors import DIM, block, clustered, filled, verses
from benchmarks.rows import Row
from data.vectors.quantise import Floats
from retrieval.check import Block, IndexFigures, exact_nearest, measure_index
from retrieval.config import IndexConfig, Quantisation
from retrieval.engines.edge import EdgeIndex

K = 10
QUESTIONS = 1_000
MILLION = 1_000_000
CANDIDATES = (256, 1024)  # of `index.hnsw_ef`, that a million vectors are asked by beside the default


@dataclass(frozen=True)
class Searched:
    """An index of some vectors, measured.

    Attributes:
        figures: as a user gets it by default.
        seconds: to fill it.
        bytes_each: of a vector in memory.
        others: figures by other numbers of candidates.
    """

    figures: IndexFigures
    seconds: float
    bytes_each: float
    others: Mapping[int, IndexFigures] = field(default_factory=dict)

    def __str__(self) -> str:
        others = "".join(
            f"; {candidates} candidates: {found.recall:.4f} in {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f}"
            for candidates, found in self.others.items()
        )
        return (
            f"p50 {self.figures.p50_ms:.2f} ms, p99 {self.figures.p99_ms:.2f} ms, filled in {self.seconds:.0f} s, "
            f"{self.bytes_each:,.0f} bytes a vector in memory{others}"
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
    """Recall on a million synthetic vectors: twenty minutes and 4 GB of memory on two cores."""
    (_, questions), *_ = clustered(QUESTIONS, 1, MILLION)
    exact = exact_nearest(questions, clustered(MILLION, 0), K)
    searched = search(clustered(MILLION, 0), questions, exact=exact, candidates=CANDIDATES)
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
    candidates: Sequence[int] = (),
) -> Searched:
    """Fill an index, have its graph built however small it is, and ask it.

    Args:
        blocks: what it holds; a list where ``exact`` is None, for it is read twice.
        questions: float32 (Q, dim).
        quantisation: codes of the vectors.
        exact: what is to be found; computed where None.
        candidates: further numbers of candidates to ask by.
    """
    if exact is None:
        exact = exact_nearest(questions, blocks, K)
    config = IndexConfig(exact_below_points=0, quantisation=quantisation)
    with tempfile.TemporaryDirectory() as folder:
        index, seconds = filled(Path(folder, "index"), blocks, config)
        with closing(index):
            figures = measure_index(index, questions, exact, K)
            coded = sum(file.stat().st_size for file in Path(folder).rglob("quantized.*"))
            bytes_each = coded / index.count() if coded else 4.0 * DIM
        others: dict[int, IndexFigures] = {}
        for number in candidates:
            asked = config.model_copy(update={"hnsw_ef": number})
            with closing(EdgeIndex.open(Path(folder, "index"), asked)) as again:
                others[number] = measure_index(again, questions, exact, K)
        return Searched(figures, seconds, bytes_each, others)


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
