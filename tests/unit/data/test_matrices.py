"""Rows of unit length, and matrices with orthonormal columns."""

import numpy as np
import pytest

from data.matrices import best_of_dense, distinct, orthonormal_columns, unit_rows


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_have_length_one_and_zeros_stay(kind: type[np.floating]) -> None:
    matrix = np.random.default_rng(0).normal(size=(50, 12)).astype(kind) * 1000
    matrix[7] = 0
    before = matrix.copy()
    scaled = unit_rows(matrix)
    assert scaled.dtype == kind and (matrix == before).all() and not scaled[7].any()
    others = np.arange(50) != 7
    np.testing.assert_allclose(np.square(scaled[others]).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(scaled[others], before[others] / np.linalg.norm(before[others], axis=1, keepdims=True))


def test_rows_are_scaled_in_place() -> None:
    matrix = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert unit_rows(matrix, out=matrix) is matrix
    np.testing.assert_allclose(matrix, [[0.6, 0.8], [0, 0]], atol=1e-7)


def test_no_rows() -> None:
    assert unit_rows(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_columns_are_orthonormal_and_follow_from_the_seed() -> None:
    drawn = orthonormal_columns(40, 8, seed=3)
    np.testing.assert_allclose(drawn.T @ drawn, np.eye(8), atol=1e-12)
    np.testing.assert_array_equal(drawn, orthonormal_columns(40, 8, seed=3))
    assert not np.allclose(drawn, orthonormal_columns(40, 8, seed=4))


def test_no_direction_is_preferred() -> None:
    first = np.array([orthonormal_columns(2, 2, seed)[0, 0] for seed in range(400)])
    assert abs(first.mean()) < 0.1  # 0 for the Haar measure, 0.64 in size without the signs


@pytest.mark.parametrize(("width", "count"), [(50, 7), (5000, 9), (4097, 20), (3000, 3000)])
def test_the_best_of_dense_rows_are_those_of_a_sort(width: int, count: int) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 200, (6, width)).astype(np.float32)  # with ties
    scores[0] = 0
    scores[1, -3:] = 500  # behind the last whole group
    found = np.take_along_axis(scores, best_of_dense(scores, count), axis=1)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(scores, axis=1)[:, width - count :])
    assert all(len(set(columns)) == count for columns in best_of_dense(scores, count).tolist())


def test_distinct_numbers_ascend() -> None:
    codes = np.array([5, 2, 5, 9, 2])
    assert distinct(codes).tolist() == [2, 5, 9] and codes[0] == 5
    assert distinct(np.zeros(0, np.int64)).tolist() == []
