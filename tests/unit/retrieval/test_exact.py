"""All vectors compared: the same neighbours as products with all of them give."""

from pathlib import Path

import numpy as np
import pytest

from data.matrices import unit_rows
from retrieval import exact
from retrieval.exact import ExactIndex
from retrieval.neighbours import nearest, open_index


def drawn(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


@pytest.mark.parametrize("hardware", [True, False], ids=["bf16", "float32"])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (5, 9), (17, 3), (500, 20), (1700, 20)])
def test_the_nearest_are_those_of_all_products(
    count: int, k: int, hardware: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "bf16_in_hardware", lambda device: hardware)
    vectors, queries = drawn(count, 32), drawn(700, 32, 1)
    cosines, places = ExactIndex(3 * vectors).search(queries, k)
    products = queries @ vectors.T
    wanted = min(k, count)
    expected = -np.sort(-products, axis=1)[:, :wanted]
    np.testing.assert_allclose(cosines[:, :wanted], expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, places[:, :wanted], axis=1), expected, atol=1e-6)
    assert (places[:, wanted:] == -1).all() and np.isneginf(cosines[:, wanted:]).all()


def test_equal_vectors_come_in_the_order_of_their_places() -> None:
    vectors = np.repeat(drawn(3, 8), 4, axis=0)
    _, places = ExactIndex(vectors).search(vectors[:1], 6)
    assert places[0, :4].tolist() == [0, 1, 2, 3]


def test_zero_vectors_and_none_have_no_neighbours(tmp_path: Path) -> None:
    vectors = np.vstack([drawn(40, 8), np.zeros((2, 8), np.float32)])
    rows, others = nearest(open_index(vectors, tmp_path / "none"), vectors, 0, 42, 5)
    assert not {40, 41} & {*rows.tolist(), *others.tolist()} and not (rows == others).any()
    cosines, places = ExactIndex(np.zeros((0, 8), np.float32)).search(drawn(2, 8), 3)
    assert cosines.shape == places.shape == (2, 3) and (places == -1).all()
