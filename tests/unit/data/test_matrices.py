"""Rows of unit length, and matrices with orthonormal columns."""

import numpy as np
import pytest

from data.matrices import orthonormal_columns, unit_rows


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
