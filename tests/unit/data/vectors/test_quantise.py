"""Codes of unit vectors: what they lose, what a search over them finds, and what rescoring gives back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.errors import InputError
from data.vectors.exact_search import overlap, rescore, search
from data.vectors.quantise import DTYPES, STORAGES, Floats, Storage, bytes_per_vector, decode, encode, width

# Largest distance of a unit vector's numbers from themselves after decoding.
ERRORS: dict[Storage, float] = {"float32": 0.0, "float16": 5e-4, "float8": 0.07, "int8": 0.01, "binary": 1.0}


def unit(count: int, dim: int = 64, seed: int = 0) -> Floats:
    """Vectors in clusters, so that some are near each other and most are not."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((12, dim))
    raw = centres[rng.integers(12, size=count)] + rng.standard_normal((count, dim))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("storage", STORAGES)
def test_codes_have_their_size_and_decode_to_unit_vectors(storage: Storage) -> None:
    vectors = unit(50)
    codes = encode(vectors, storage)
    assert codes.shape == (50, width(64, storage)) and codes.dtype == DTYPES[storage]
    assert codes.nbytes == 50 * bytes_per_vector(64, storage)
    decoded = decode(codes, storage)
    assert decoded.dtype == np.float32 and decoded.shape == vectors.shape
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-3)
    assert np.abs(decoded - vectors).max() <= ERRORS[storage]
    again = encode(decoded, storage)  # a second pass loses nothing more
    assert (again == codes).mean() > 0.99


def test_bytes_of_384_dimensions() -> None:
    assert [bytes_per_vector(384, storage) for storage in STORAGES] == [1536, 768, 384, 384, 48]


@given(arrays(np.float32, (3, 16), elements=st.floats(-1, 1, width=32)))
def test_codes_of_any_unit_vector_are_finite_and_near_it(raw: Floats) -> None:
    lengths = np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    vectors = np.where(lengths > 1e-20, raw / np.maximum(lengths, 1e-20), 0).astype(np.float32)
    for storage in STORAGES:
        decoded = decode(encode(vectors, storage), storage)
        assert np.isfinite(decoded).all()
        if storage != "binary":
            assert np.abs(decoded - vectors).max() <= ERRORS[storage]


def test_a_zero_vector_stays_zero_but_in_bits() -> None:
    zero = np.zeros((1, 16), np.float32)
    for storage in ("float32", "float16", "float8", "int8"):
        assert (decode(encode(zero, storage), storage) == 0).all()


def test_float8_is_e4m3_rounded_to_nearest_even() -> None:
    values = np.array([[1.0, 0.0625, 17 / 256, 19 / 256, -0.5, 0.0, 2**-9 / 256, -1.0]], np.float32)
    expected = np.array([[1.0, 0.0625, 16 / 256, 20 / 256, -0.5, 0.0, 2**-9 / 256, -1.0]], np.float32)
    stored = torch.from_numpy(encode(values, "float8")).view(torch.float8_e4m3fn).float().numpy() / 256
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("storage", STORAGES)
def test_search_is_exact_over_its_codes_whatever_the_blocks(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, questions = unit(500), unit(7, seed=1)
    codes = encode(vectors, storage)
    asked = decode(encode(questions, storage), storage) if storage in ("int8", "binary") else questions
    exact = asked @ decode(codes, storage).T
    for rows_at_once in (16_384, 64):
        monkeypatch.setattr("data.vectors.exact_search._SEARCHED_AT_ONCE", rows_at_once)
        similarities, rows = search(questions, codes, storage, 20)
        np.testing.assert_allclose(similarities, -np.sort(-exact, axis=1)[:, :20], atol=1e-5)
        np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), similarities, atol=1e-5)
        assert all(len(set(found)) == 20 for found in rows.tolist())


def test_int8_multiplies_integers_exactly() -> None:
    vectors, questions = unit(300, dim=1024), unit(3, dim=1024, seed=1)
    codes, asked = encode(vectors, "int8"), encode(questions, "int8")
    dots = asked.astype(np.int64) @ codes.astype(np.int64).T
    assert np.array_equal(asked.astype(np.float32) @ codes.astype(np.float32).T, dots)
    lengths = np.linalg.norm(asked.astype(np.float64), axis=1)[:, None] * np.linalg.norm(codes.astype(float), axis=1)
    similarities, rows = search(questions, codes, "int8", 300)
    np.testing.assert_allclose(similarities, np.take_along_axis(dots / lengths, rows, axis=1), rtol=1e-6)


def test_bits_that_fill_no_words_are_counted_all_the_same() -> None:
    vectors = unit(40, dim=24)
    _, rows = search(vectors, encode(vectors, "binary"), "binary", 1)
    assert (rows[:, 0] == np.arange(40)).mean() > 0.9


def test_equal_similarities_stand_by_row_number() -> None:
    vectors = np.repeat(unit(1), 6, axis=0)
    assert search(vectors[:1], encode(vectors, "int8"), "int8", 6)[1].tolist() == [[0, 1, 2, 3, 4, 5]]


def test_more_is_asked_than_there_is() -> None:
    vectors = unit(3)
    assert search(vectors, encode(vectors, "binary"), "binary", 10)[1].shape == (3, 3)
    assert rescore(vectors, search(vectors, vectors, "float32", 10)[1], vectors, 10)[1].shape == (3, 3)
    assert search(vectors, np.empty((0, 64), np.int8), "int8", 10)[1].shape == (3, 0)


def test_rescoring_finds_what_codes_alone_lose() -> None:
    vectors, questions = unit(2000), unit(50, seed=1)
    exact = search(questions, vectors, "float32", 10)[1]

    codes = encode(vectors, "binary")
    alone = overlap(search(questions, codes, "binary", 10)[1], exact)
    deeper = [search(questions, codes, "binary", 10 * many)[1] for many in (2, 4, 16)]
    rescored = [overlap(rescore(questions, rows, vectors, 10)[1], exact) for rows in deeper]
    assert alone < rescored[0] < rescored[1] < rescored[2]
    assert overlap(search(questions, encode(vectors, "int8"), "int8", 10)[1], exact) > 0.95
    cosines, rows = rescore(questions, np.tile(np.arange(2000), (50, 1)), vectors, 10)
    assert overlap(rows, exact) == 1.0 and (np.diff(cosines) <= 0).all()


def test_bits_that_fill_no_bytes_are_refused() -> None:
    with pytest.raises(InputError, match="20 is no multiple of 8") as raised:
        encode(unit(2, dim=20), "binary")
    assert "16 dimensions" in raised.value.remedy
