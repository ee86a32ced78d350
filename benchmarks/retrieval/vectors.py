"""Vectors to search in: verses of the King James Bible, or synthetic ones in clusters, and an index of them."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.whole_runs import RUNS
from data.lexical import SparseVector
from data.matrices import unit_rows
from data.vectors.quantise import Floats, decode
from data.vectors.read import read_codes
from data.vectors.table import storage_of
from ray_apps.config import load_run
from ray_apps.plan import Plan
from retrieval.check import Block
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.index import IndexedPassage

DIM = 384
CLUSTER = 40  # vectors about one centre
SPREAD = np.float32(1.2)  # of a vector about its centre, in lengths of centres: cosines in a cluster are near 0.4
ROWS = 16_384

_NO_WORDS = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))


def verses() -> Floats:
    """Vectors of the run ``kjv``, float32 (31,102, 384) of unit length; they are made first where they are not."""
    import pyarrow.parquet as pq

    from data.partitions import partitions

    folder = Plan(load_run(RUNS / "kjv.yaml")).bring("embed").path / "vectors"
    _, codes = read_codes(folder)
    storage, _ = storage_of(pq.read_schema(partitions(folder)[0]))
    return unit_rows(decode(codes, storage))


def clustered(count: int, seed: int, of: int | None = None) -> Iterator[Block]:
    """Synthetic vectors of unit length about random centres, a block at a time, the same whenever they are made.

    Args:
        count: how many.
        seed: of the draw; the centres are the same for every seed.
        of: vectors of the whole set, which decides how many centres there are; ``count`` where None.
    """
    centres = np.random.default_rng(0).standard_normal((max(1, (of or count) // CLUSTER), DIM), np.float32)
    rng = np.random.default_rng([seed, count])
    for start in range(0, count, ROWS):
        rows = min(ROWS, count - start)
        about = centres[rng.integers(0, len(centres), rows)]
        vectors = unit_rows(about + SPREAD * rng.standard_normal((rows, DIM), np.float32))
        yield [str(row) for row in range(start, start + rows)], vectors


def block(vectors: Floats) -> Block:
    """Vectors with their row numbers as ids."""
    return [str(row) for row in range(len(vectors))], vectors


def filled(folder: Path, blocks: Iterable[Block], config: IndexConfig) -> tuple[EdgeIndex, float]:
    """An index of vectors alone, its graph built.

    Args:
        folder: to be made.
        blocks: what it holds.
        config: of the index.

    Returns:
        The index, and the seconds that storing and building took.
    """
    index = EdgeIndex.create(folder, DIM, (), config)
    taken = 0.0
    for ids, vectors in blocks:
        started = time.perf_counter()
        for first in range(0, len(ids), config.batch_points):
            some = slice(first, first + config.batch_points)
            index.upsert(
                [
                    IndexedPassage(id_, id_, "", "", 0, 0, {}, vector, _NO_WORDS)
                    for id_, vector in zip(ids[some], vectors[some], strict=True)
                ]
            )
        taken += time.perf_counter() - started
    started = time.perf_counter()
    index.finish()
    return index, taken + time.perf_counter() - started
