"""Filters: the JSON form and the words of the command line mean the same; what is wrong with one is named."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.metadata import path_text
from retrieval.filters import AnyOf, Exists, Filter, Range, parse_filter, parse_path, parse_words


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ([], {}),
        (["lang=en"], {"lang": "en"}),
        (["lang=en", "year>=1990", "lang=de"], {"lang": ["en", "de"], "year": {"gte": "1990"}}),
        (["year>1990", "year<=2000"], {"year": {"gt": "1990", "lte": "2000"}}),
        (["author.name=Ann"], {"author.name": "Ann"}),
        (['"a.b".c=1'], {'"a.b".c': "1"}),
        (['"x>y"<3'], {'"x>y"': {"lt": "3"}}),
        (["tags"], {"tags": {"exists": True}}),
        (["!tags"], {"tags": {"exists": False}}),
        (["!draft=true", "!lang=en"], {"not": [{"draft": "true"}, {"lang": "en"}]}),
        (["formula=a=b<c"], {"formula": "a=b<c"}),
        (['"not"=x', '"!important"'], {'"not"': "x", '"!important"': {"exists": True}}),
        (["title=with spaces, and ü"], {"title": "with spaces, and ü"}),
    ],
    ids=str,
)
def test_words_and_json_mean_the_same(words: list[str], form: dict[str, Any]) -> None:
    assert parse_words(words) == parse_filter(form)
    assert parse_filter(parse_words(words).as_json()) == parse_words(words)


def test_two_conditions_on_one_key_keep_their_meaning_in_json() -> None:
    filter_ = Filter((AnyOf(("n",), (1, 2)), Range(("n",), gt=1)), (Filter((Exists(("m",)),)),))
    assert filter_.as_json() == {"n": [1, 2], "not": [{"m": {"exists": True}}, {"not": {"n": {"gt": 1}}}]}
    parse_filter(filter_.as_json())


def test_json_keeps_types_and_python_may_give_times() -> None:
    given_ = {"n": [1, 0.5, True, "1"], "on": {"gte": date(2024, 1, 2), "lt": datetime(2024, 2, 1, tzinfo=UTC)}}
    assert parse_filter(given_).conditions == (
        AnyOf(("n",), (1, 0.5, True, "1")),
        Range(("on",), gte="2024-01-02", lt="2024-02-01T00:00:00Z"),
    )
    nested = parse_filter({"not": {"a": 1, "not": {"b": {"exists": True}}}})
    inner = Filter((AnyOf(("a",), (1,)),), (Filter((Exists(("b",)),)),))
    assert nested == Filter((), (inner,))
    assert list(nested.paths()) == [("a",), ("b",)]
    assert not parse_filter({}) and nested


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ([], "a filter is an object of keys and values, not"),
        ({"lang": None}, "filter by 'lang': a value is null"),
        ({"lang": ""}, "filter by 'lang': a value is empty"),
        ({"lang": []}, "filter by 'lang': an empty list"),
        ({"lang": ["en", {"a": 1}]}, "filter by 'lang': {'a': 1} is no string"),
        ({"author": {"name": "Ann"}}, "filter by 'author': no bound 'name'; .*by its path, 'author.name'"),
        ({"year": {"gte": 1990, "gtt": 1}}, "no bound 'gtt'; did you mean 'gt'"),
        ({"year": {}}, "filter by 'year': no bound"),
        ({"year": {"gte": None}}, "filter by 'year': a value is null"),
        ({"year": {"gte": float("nan")}}, "filter by 'year': nan is no string"),
        ({"year": float("inf")}, "filter by 'year': 'year' is infinite"),
        ({"tags": {"exists": "yes"}}, "filter by 'tags': no bound 'exists'"),
        ({"tags": {"exists": True, "gt": 1}}, "no bound 'exists'"),
        ({"": "x"}, "a key is empty"),
        ({"a..b": "x"}, "a key is empty"),
        ({'"a': "x"}, "a quote is not closed"),
        ({'"a"b': "x"}, "after a closed quote"),
        ({"lang": "\ud800"}, "filter by 'lang': the value .* is not valid Unicode"),
        ({"\ud800": "x"}, "not valid Unicode"),
        ({"not": {}}, "`not` holds no condition"),
        ({"not": []}, "`not` holds no condition"),
        ({"not": True}, "a filter is an object"),
        ({"n": 10**400}, "filter by 'n': 'n' is infinite, or too large a number"),
    ],
    ids=str,
)
def test_what_is_no_filter_is_named(form: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=f"(?s){message}"):
        parse_filter(form)


def test_nots_are_bounded() -> None:
    form: dict[str, Any] = {"a": 1}
    for _ in range(9):
        form = {"not": form}
    with pytest.raises(InputError, match="nested deeper than 8"):
        parse_filter(form)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "no key"),
        ("!", "no key"),
        ("=x", "a key is empty"),
        ("lang=", "no value after '='"),
        ("year>=", "no value after '>='"),
        ("a.=x", "a key is empty"),
    ],
)
def test_a_word_that_is_no_condition_is_named(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_words([word])


def test_a_bound_is_given_once() -> None:
    with pytest.raises(InputError, match="a second bound >= on 'year'"):
        parse_words(["year>=1", "year>=2"])


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=3),
    st.text(min_size=1).filter(lambda value: not value[0].isspace()),  # a blank beside the sign is refused
)
def test_any_path_can_be_written(path: list[str], value: str) -> None:
    text = path_text(tuple(path))
    assert parse_path(text) == tuple(path)
    assert parse_words([f"{text}={value}"]).conditions == (AnyOf(tuple(path), (value,)),)
    assert parse_words([f"!{text}"]) == parse_filter({text: {"exists": False}})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a!=3", "!= is no sign"),
        ("year = 1990", "a blank beside the sign"),
        ("year>= 1990", "a blank beside the sign"),
        ("!year <3", "a blank beside the sign"),
    ],
)
def test_signs_of_other_languages_and_blanks_are_refused(word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_words([word])


def test_a_quoted_key_and_a_value_may_hold_signs_and_blanks() -> None:
    assert parse_words(['"a = b"=c d', "title=a != b"]) == Filter(
        (AnyOf(("a = b",), ("c d",)), AnyOf(("title",), ("a != b",)))
    )
