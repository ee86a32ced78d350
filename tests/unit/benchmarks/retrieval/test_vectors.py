"""The benchmarks of vectors on few of them: what they measure is there, and can be missed."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.retrieval import graph, neighbours, suite
from benchmarks.retrieval.vectors import DIM, block, clustered
from data.errors import InputError
from data.matrices import unit_rows
from ray_apps.bench import bench
from retrieval.neighbours import open_index


def test_synthetic_vectors_are_the_same_whenever_they_are_made_and_lie_in_clusters() -> None:
    once, again = (np.concatenate([vectors for _, vectors in clustered(20_000, 0)]) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert once.shape == (20_000, DIM)
    assert [id_ for ids, _ in clustered(20_000, 0) for id_ in ids] == [str(n) for n in range(20_000)]
    (_, asked), *_ = clustered(50, 1, 20_000)
    nearest = (asked @ once.T).max(axis=1)
    assert np.median(nearest) > 0.4 > 0.1 > abs(float((asked @ once.T).mean()))


@pytest.mark.parametrize("quantisation", ["none", "binary"])
def test_a_graph_is_searched_and_measured(quantisation: str) -> None:
    (_, asked), *_ = clustered(20, 1, 3_000)
    searched = graph.search(list(clustered(3_000, 0)), asked, quantisation)  # type: ignore[arg-type]
    assert searched.figures.recall > 0.9
    assert 0 < searched.figures.p50_ms <= searched.figures.p99_ms and searched.seconds > 0
    assert searched.bytes_each == (4 * DIM if quantisation == "none" else pytest.approx(DIM / 8, rel=0.5))


def test_what_is_held_out_asks_and_is_not_found() -> None:
    vectors = unit_rows(np.random.default_rng(0).standard_normal((graph.QUESTIONS + 500, 8)).astype(np.float32))
    asked, stored = graph.held_out(vectors)
    assert (len(asked), len(stored)) == (graph.QUESTIONS, 500)
    assert float((asked @ stored.T).max()) < 0.9999


def test_neighbours_are_those_of_brute_force(tmp_path: Path) -> None:
    vectors = np.concatenate([vectors for _, vectors in clustered(3_000, 0)])
    rows = {row.id: row for row in neighbours.rows_of(vectors, tmp_path)}
    assert rows["retrieval.neighbours_exact"].value == 1.0
    assert 0.95 < rows["retrieval.neighbours_directions"].value <= 1.0
    assert rows["retrieval.neighbours_ratio"].value > 0


def test_neighbours_that_are_not_near_are_not_counted(tmp_path: Path) -> None:
    vectors = np.concatenate([vectors for _, vectors in clustered(500, 0)])
    bound = neighbours.brute_force(vectors, neighbours.K)[:, -1]
    rows = np.repeat(np.arange(500), neighbours.K)
    others = np.random.default_rng(0).integers(0, 500, len(rows))
    assert neighbours.share_found(vectors, bound, rows, others) < 0.3
    whole = neighbours.nearest(open_index(vectors, tmp_path / "none"), vectors, 0, 500, neighbours.K)
    assert neighbours.share_found(vectors, bound, *whole) == 1.0


def test_parts_are_named() -> None:
    assert list(suite.PARTS) == [
        *("funnel", "cold", "hnsw", "quantisation", "batch", "neighbours", "million"),
        *("quality", "fusions", "boosted", "expansion", "evaluation", "reranking"),
    ]
    with pytest.raises(InputError, match="bench retrieval has no part 'hnws'; did you mean 'hnsw'"):
        bench("retrieval", parts="hnws")


def test_blocks_name_their_rows() -> None:
    ids, vectors = block(np.zeros((3, DIM), np.float32))
    assert ids == ["0", "1", "2"] and len(vectors) == 3
