"""Terms of words, and weights equal to BM25's formula."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from data.lexical import BM25, Tokenizer, mean_length, term_number


def test_english_drops_stop_words_and_takes_stems() -> None:
    assert Tokenizer("english").terms("The inverting of inverted matrices") == ["invert", "invert", "matric"]
    assert Tokenizer("none").terms("The matrices") == ["the", "matrices"]
    assert Tokenizer("english").terms("בראשית ברא") == ["בראשית", "ברא"]


def test_only_turkish_parts_the_two_letters_i() -> None:
    assert Tokenizer("turkish").terms("DIŞ") == Tokenizer("turkish").terms("dış") != Tokenizer("turkish").terms("diş")
    assert Tokenizer("none").terms("İZMİR IRMAK Izmir") == ["izmir", "irmak", "izmir"]


def test_term_numbers_are_the_same_in_another_process() -> None:
    code = "from data.lexical import term_number; print(term_number('matrix'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == term_number("matrix") < 2**32


def test_weights_are_bm25s() -> None:
    tokenizer = Tokenizer("none")
    texts = ["x y x z", "y", "z z z w v u"]
    bm25 = BM25(tokenizer, mean_length(texts, tokenizer), k1=1.5, b=0.6)
    assert bm25.mean_length == pytest.approx(11 / 3)
    for text in texts:
        counts = Counter(text.split())
        sparse = bm25.passage(text)
        assert list(sparse.indices) == sorted(term_number(term) for term in counts)
        stored = dict(zip(sparse.indices.tolist(), sparse.values.tolist(), strict=True))
        for term, f in counts.items():
            norm = 1.5 * (1 - 0.6 + 0.6 * counts.total() / bm25.mean_length)
            assert stored[term_number(term)] == pytest.approx(f * 2.5 / (f + norm), rel=1e-6)


def test_a_query_counts_a_term_as_often_as_it_names_it_and_may_be_empty() -> None:
    bm25 = BM25(Tokenizer("english"), 10.0)
    asked = bm25.query("matrix inverse matrix")
    stored = dict(zip(asked.indices.tolist(), asked.values.tolist(), strict=True))
    assert stored == {term_number("matrix"): 2.0, term_number("invers"): 1.0}
    assert len(bm25.query("to be or not to be").indices) == 0
    assert bm25.query("!").values.dtype == np.float32


def test_more_occurrences_count_more_and_longer_passages_less() -> None:
    bm25 = BM25(Tokenizer("none"), 4.0)

    def weight(text: str) -> float:
        sparse = bm25.passage(text)
        return float(sparse.values[list(sparse.indices).index(term_number("x"))])

    assert weight("x a b c") < weight("x x a b") < 2.2
    assert weight("x a b c d e f g") < weight("x a b c")
    assert math.isclose(weight("x a b c"), 1.0, rel_tol=1e-6)
