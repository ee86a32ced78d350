"""Hebrew words: one term for a word, however it is pointed, abbreviated, ended and joined to what stands before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.hebrew import hebrew_term
from data.lexical import BM25, Tokenizer
from data.stop_words import HEBREW, stop_words
from data.words import words

ALIKE = [
    ("בְּרֵאשִׁ֖ית", "בראשית"),  # points and cantillation marks
    ("צה״ל", "צהל"),
    ('צה"ל', "צהל"),
    ("ג׳ורג׳", "ג'ורג'"),
    ("ילד", "הילד"),
    ("ילד", "ושהילד"),
    ("ירושלים", "מירושלים"),
    ("מדינה", "והמדינה"),
    ("מלך", "המלך"),
    ("שלום", "לשלום"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_spellings_of_a_word_have_one_term(one: str, other: str) -> None:
    tokenizer = Tokenizer("hebrew")
    assert tokenizer.terms(one) == tokenizer.terms(other) != []


def test_other_words_have_other_terms() -> None:
    tokenizer = Tokenizer("hebrew")
    assert len({*tokenizer.terms("ילד עיר מלך ספר בית קול")}) == 6


def test_the_maqaf_parts_words_and_final_letters_are_plain() -> None:
    assert Tokenizer("hebrew").terms("בית־ספר ארץ") == ["בית", "ספר", "ארצ"]


def test_particles_may_stay() -> None:
    assert Tokenizer("hebrew", particles=False).terms("והילד צה״ל") == ["והילד", "צהל"]


def test_words_of_other_scripts_are_their_own_terms() -> None:
    assert Tokenizer("hebrew").terms("NATO's 1948 école") == ["nato's", "1948", "école"]
    assert hebrew_term("h'") == "h'"


@given(st.text("ובכלמשה", max_size=4), st.text("אבגדהוזחטיכלמנסעפצקרשתםן", min_size=3, max_size=8))
def test_particles_before_a_word_do_not_change_its_term(particles: str, word: str) -> None:
    term = hebrew_term(word)
    assert hebrew_term(particles + word) == term
    assert 3 <= len(term) <= len(word) and hebrew_term(term) == term


def test_stop_words_are_written_as_words_are() -> None:
    assert all(words(word) == [word] for word in HEBREW)
    assert Tokenizer("hebrew", stop_words("hebrew")).terms("הילד של המלך הוא גם לא עם אחיו") == ["ילד", "מלכ", "אחיו"]
    assert len(BM25(Tokenizer("hebrew", stop_words("hebrew")), 5.0).query("את של הוא").indices) == 0
