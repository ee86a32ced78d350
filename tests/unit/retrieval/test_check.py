"""An index beside exact search: what counts as found, and that an index that lost passages is noticed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.lexical import SparseVector
from data.matrices import unit_rows
from data.partitions import partition_name, write_partition
from data.vectors.quantise import Floats
from data.vectors.table import vector_column
from retrieval.check import exact_nearest, measure_index, sample_vectors, vector_blocks
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.index import IndexedPassage

DIM, COUNT, K = 12, 300, 10
NO_WORDS = SparseVector(np.empty(0, np.uint32), np.empty(0, np.float32))


def draw(count: int, seed: int) -> Floats:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32))


VECTORS, QUESTIONS = draw(COUNT, 0), draw(20, 1)
IDS = [f"p{n}" for n in range(COUNT)]


def blocks(rows: int, vectors: Floats = VECTORS) -> Iterator[tuple[list[str], Floats]]:
    for start in range(0, len(vectors), rows):
        yield IDS[start : start + rows], vectors[start : start + rows]


@pytest.mark.parametrize("rows", [1, 7, 299, 1000])
@pytest.mark.parametrize("k", [1, K, 500])
def test_exact_search_is_a_sort_of_all_cosines(rows: int, k: int) -> None:
    expected = [frozenset(IDS[n] for n in np.argsort(-(VECTORS @ question))[:k]) for question in QUESTIONS]
    assert exact_nearest(3 * QUESTIONS, blocks(rows), k) == expected


def test_passages_as_near_as_the_last_count_as_found() -> None:
    same = VECTORS.copy()
    same[100:115] = same[0]
    (nearest,) = exact_nearest(same[:1], blocks(64, same), 3)
    assert nearest == {"p0", *(f"p{n}" for n in range(100, 115))}


@pytest.fixture
def index(tmp_path: Path) -> Iterator[EdgeIndex]:
    made = EdgeIndex.create(tmp_path / "index", DIM, (), IndexConfig())
    made.upsert(
        [IndexedPassage(id_, id_, "", "", 0, 0, {}, vector, NO_WORDS) for id_, vector in zip(IDS, VECTORS, strict=True)]
    )
    made.finish()
    yield made
    made.close()


def test_an_index_that_lost_passages_finds_fewer(index: EdgeIndex) -> None:
    exact = exact_nearest(QUESTIONS, blocks(64), K)
    whole = measure_index(index, QUESTIONS, exact, K)
    assert whole.recall == 1.0 and 0 < whole.p50_ms <= whole.p99_ms
    index.delete(IDS[: COUNT // 2])
    assert 0.3 < measure_index(index, QUESTIONS, exact, K).recall < 0.7


def test_a_small_index_is_not_blamed_for_what_is_not_there(index: EdgeIndex) -> None:
    index.delete(IDS[4:])
    exact = exact_nearest(QUESTIONS, [(IDS[:4], VECTORS[:4])], K)
    assert measure_index(index, QUESTIONS, exact, K).recall == 1.0


def test_passages_are_drawn_as_questions_from_every_partition(tmp_path: Path) -> None:
    for number, start in enumerate(range(0, COUNT, 64)):
        field, column = vector_column(VECTORS[start : start + 64], "float16")
        ids = pa.array(IDS[start : start + 64])
        write_partition(
            pa.table([ids, column], pa.schema([pa.field("id", pa.string()), field])), tmp_path / partition_name(number)
        )
    stored = np.concatenate([vectors for _, vectors in vector_blocks(tmp_path)])
    np.testing.assert_allclose(stored, VECTORS, atol=1e-3)
    drawn = sample_vectors(tmp_path, 40, seed=3)
    assert drawn.shape == (40, DIM) and not np.array_equal(drawn, sample_vectors(tmp_path, 40, seed=4))
    places = (drawn @ VECTORS.T).argmax(axis=1)
    assert len(set(places)) == 40 and (drawn * VECTORS[places]).sum(axis=1).min() > 0.999
    assert places.min() < 64 and places.max() >= 256
    assert len(sample_vectors(tmp_path, 1000, seed=0)) == COUNT
