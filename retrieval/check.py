"""Whether an index finds what there is to find: its own search beside a comparison with every vector.

Shapes: Q questions, n vectors of a block.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.matrices import best_of_dense, unit_rows
from data.partitions import count_rows, read_batches
from data.vectors.quantise import Floats
from data.vectors.read import matrix
from retrieval.index import IndexQuery, VectorIndex

Block = tuple[Sequence[str], Floats]
"""Ids of some passages, and their vectors, float32 (n, dim)."""

_ROWS = 16_384  # compared at once
_TIED = 30  # vectors that may be as near as the k-th: the same sentence in many documents
_EQUAL = 1e-6  # cosines that differ by less are equal


@dataclass(frozen=True)
class IndexFigures:
    """What a check of an index measured.

    Attributes:
        recall: mean share of the k nearest passages that are among the k found; one as near as the k-th counts too.
        p50_ms: median time of a question asked alone.
        p99_ms: 99th percentile.
    """

    recall: float
    p50_ms: float
    p99_ms: float


def vector_blocks(folder: Path) -> Iterator[Block]:
    """Ids and vectors of a table of vectors, some rows at a time.

    Args:
        folder: ``vectors`` of an artifact, in any storage.
    """
    for batch in read_batches(folder, ["id", "vector"], _ROWS):
        yield batch["id"].to_pylist(), matrix(batch)


def sample_vectors(folder: Path, count: int, seed: int) -> Floats:
    """Vectors of some passages as questions, float32 (Q, dim) of unit length; all of them where there are no more.

    Args:
        folder: as of ``vector_blocks``.
        count: how many.
        seed: of the draw.
    """
    rows = count_rows(folder)
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(count, rows), replace=False))
    drawn, start = [], 0
    for ids, vectors in vector_blocks(folder):
        of_block = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + len(ids))]
        drawn.append(vectors[of_block - start])
        start += len(ids)
    return unit_rows(np.concatenate(drawn))


def exact_nearest(questions: Floats, blocks: Iterable[Block], k: int) -> list[frozenset[str]]:
    """Ids of the k passages nearest to each question by cosine, and of those as near as the k-th.

    Memory holds one block and its similarities.

    Args:
        questions: float32 (Q, dim).
        blocks: every passage once.
        k: how many, at least 1.
    """
    asked = unit_rows(questions)
    nearest = np.empty((len(asked), 0), np.float32)
    names = np.empty((len(asked), 0), np.object_)
    for ids, vectors in blocks:
        similarities = np.asarray(asked @ unit_rows(vectors).T, np.float32)
        found = best_of_dense(similarities, min(k + _TIED, len(ids)))
        nearest = np.hstack([nearest, np.take_along_axis(similarities, found, axis=1)])
        names = np.hstack([names, np.asarray(ids, np.object_)[found]])
        order = np.argsort(-nearest, axis=1, kind="stable")[:, : k + _TIED]
        nearest, names = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(names, order, axis=1)
    bound = nearest[:, min(k, nearest.shape[1]) - 1] - _EQUAL
    return [frozenset(of[near >= least]) for of, near, least in zip(names, nearest, bound, strict=True)]


def measure_index(index: VectorIndex, questions: Floats, exact: Sequence[frozenset[str]], k: int) -> IndexFigures:
    """Ask an index for the k nearest passages of each question, one after another.

    Args:
        index: that is checked.
        questions: float32 (Q, dim), at least one.
        exact: of each question, from ``exact_nearest``.
        k: as there.
    """
    shares, seconds = [], []
    index.query_batch([IndexQuery(k, dense=questions[0], payload="brief")])  # reads from disk for all
    for question, nearest in zip(questions, exact, strict=True):
        started = time.perf_counter()
        (hits,) = index.query_batch([IndexQuery(k, dense=question, payload="brief")])
        seconds.append(time.perf_counter() - started)
        wanted = min(k, len(nearest))
        shares.append(min(len(nearest.intersection(hit.passage_id for hit in hits)), wanted) / wanted)
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return IndexFigures(round(float(np.mean(shares)), 4), round(float(p50), 3), round(float(p99), 3))
