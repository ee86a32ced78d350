"""Keys: what counts as the same text, and what never does."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from data.cache.keys import cache_keys, from_arrow, hashes_of, normalise, text_hashes, to_arrow

TEXTS = ["", " ", "a", "moon and sea", "בראשית", "\ud800 alone", "a" * 100_000]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  two\t words\n", "two words"),
        ("u\u0308ber \u00a0alles", "\u00fcber alles"),
        ("Straße", "Straße"),
        ("", ""),
        (" \n ", ""),
        ("\ud800", "\ud800"),
    ],
)
def test_only_white_space_and_unicode_form_are_normalised(text: str, plain: str) -> None:
    assert normalise(text) == plain


def test_case_is_folded_where_that_is_asked_for() -> None:
    assert normalise("Straße  U\u0308BER", fold_case=True) == "strasse \u00fcber"


def test_a_hash_is_blake2b_of_the_text_as_it_stands() -> None:
    hashes = text_hashes(TEXTS)
    assert hashes.shape == (len(TEXTS), 16)
    assert hashes[3].tobytes() == hashlib.blake2b(b"moon and sea", digest_size=16).digest()
    assert len({row.tobytes() for row in hashes}) == len(TEXTS)
    assert text_hashes([]).shape == (0, 16)


def test_encoders_and_kinds_do_not_share_keys() -> None:
    hashes = text_hashes(TEXTS)
    keys = [key for kind in ("query", "document") for mark in ("one", "two") for key in cache_keys(kind, mark, hashes)]  # type: ignore[arg-type]
    assert len(set(keys)) == 4 * len(TEXTS)
    np.testing.assert_array_equal(hashes_of(keys[: len(TEXTS)]), hashes)


def test_hashes_cross_arrow_unchanged() -> None:
    hashes = text_hashes(TEXTS)
    column = pa.chunked_array([to_arrow(hashes[:3]), to_arrow(hashes[3:3]), to_arrow(hashes)[3:]])
    assert column.type == pa.binary(16)
    np.testing.assert_array_equal(from_arrow(column), hashes)
    assert from_arrow(pa.chunked_array([], pa.binary(16))).shape == (0, 16)
