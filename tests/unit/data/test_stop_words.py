"""Stop-words: a list for the languages that have one, in the form that words have."""

import pytest

from data.lexical import Tokenizer
from data.stop_words import ENGLISH, stop_words
from data.words import words
from retrieval.config import IndexConfig
from retrieval.language import BY_STOP_WORDS


@pytest.mark.parametrize("language", BY_STOP_WORDS)
def test_lists_hold_words_as_texts_do(language: str) -> None:
    listed = stop_words(language)
    assert len(listed) > 50
    assert all(words(word, language == "turkish") == [word] for word in listed)


def test_a_language_without_a_list_loses_no_words() -> None:
    assert stop_words("tamil") == stop_words("none") == frozenset()
    assert stop_words("english") is ENGLISH


def test_an_index_leaves_them_out_unless_it_is_told_not_to() -> None:
    text = "Der Hund und die Katze"
    assert IndexConfig(language="german").tokenizer().terms(text) == ["hund", "katz"]
    whole = IndexConfig(language="german", stop_words="none").tokenizer().terms(text)
    assert whole == Tokenizer("german").terms(text) == ["der", "hund", "und", "die", "katz"]
    assert IndexConfig(language="english", stop_words="none").tokenizer().terms("the seas") == ["the", "sea"]


def test_until_a_corpus_was_read_its_language_is_english() -> None:
    for text in ("The inverting of matrices", "בית הספר", "der Hund"):
        assert IndexConfig().tokenizer().terms(text) == Tokenizer("english").terms(text)


def test_a_language_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="did you mean 'hebrew'"):
        IndexConfig(language="hebrow")
