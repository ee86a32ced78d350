"""All vectors compared: the same neighbours as products with all of them give."""

from pathlib import Path

import numpy as np
import pytest

from data.matrices import unit_rows
from retrieval import flat
from retrieval.flat import FlatIndex, principal_directions
from retrieval.neighbours import nearest, open_index


def drawn(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


@pytest.mark.parametrize("hardware", [True, False], ids=["bf16", "float32"])
@pytest.mark.parametrize(("count", "k"), [(1, 1), (5, 9), (17, 3), (500, 20), (1700, 20)])
def test_the_nearest_are_those_of_all_products(
    count: int, k: int, hardware: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "bf16_in_hardware", lambda device: hardware)
    vectors, queries = drawn(count, 32), drawn(700, 32, 1)
    cosines, places = FlatIndex(3 * vectors).search(queries, k)
    products = queries @ vectors.T
    wanted = min(k, count)
    expected = -np.sort(-products, axis=1)[:, :wanted]
    np.testing.assert_allclose(cosines[:, :wanted], expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(products, places[:, :wanted], axis=1), expected, atol=1e-6)
    assert (places[:, wanted:] == -1).all() and np.isneginf(cosines[:, wanted:]).all()


def test_equal_vectors_come_in_the_order_of_their_places() -> None:
    vectors = np.repeat(drawn(3, 8), 4, axis=0)
    _, places = FlatIndex(vectors).search(vectors[:1], 6)
    assert places[0, :4].tolist() == [0, 1, 2, 3]


def test_zero_vectors_and_none_have_no_neighbours(tmp_path: Path) -> None:
    vectors = np.vstack([drawn(40, 8), np.zeros((2, 8), np.float32)])
    rows, others = nearest(open_index(vectors, tmp_path / "none"), vectors, 0, 42, 5)
    assert not {40, 41} & {*rows.tolist(), *others.tolist()} and not (rows == others).any()
    cosines, places = FlatIndex(np.zeros((0, 8), np.float32)).search(drawn(2, 8), 3)
    assert cosines.shape == places.shape == (2, 3) and (places == -1).all()


def uneven(count: int, dim: int) -> np.ndarray:
    """Vectors that are long in some dimensions, in a turned space."""
    turned, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(dim, dim)))
    return np.asarray((drawn(count, dim) * np.geomspace(1, 0.02, dim)) @ turned, np.float32)


def test_directions_hold_their_share_and_no_more_of_them_than_that_takes() -> None:
    vectors = uneven(900, 24)
    found = principal_directions(vectors, 0.9)
    np.testing.assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-6)
    held = np.square(vectors @ found).sum(axis=0) / np.square(vectors).sum()
    assert held.sum() >= 0.9 > held[:-1].sum()
    assert principal_directions(vectors, 1.0).shape == principal_directions(vectors, 0.9, 99).shape == (24, 24)


def test_along_directions_nearly_all_of_the_nearest_are_found_with_their_whole_cosines(tmp_path: Path) -> None:
    vectors = uneven(2000, 256)
    np.save(tmp_path / "vectors.npy", 5 * vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    queries = unit_rows(vectors[:300])
    exact, _ = FlatIndex(mapped).search(queries, 10)
    cosines, places = FlatIndex(mapped, principal_directions(vectors, 0.9, 128)).search(queries, 10)
    assert np.mean(cosines >= exact[:, -1:] - 1e-6) > 0.98
    np.testing.assert_allclose(cosines, np.einsum("sd,skd->sk", queries, unit_rows(vectors)[places]), atol=1e-6)
