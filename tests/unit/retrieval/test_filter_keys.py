"""The keys of an index and their kinds; filters that a key cannot answer are refused by name."""

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.metadata import Metadata
from data.sources import SourceConfig, read_tasks
from data.sources.rows import Document
from retrieval.clauses import Between, Every, Match, Present, Some, Without, clause
from retrieval.filter_keys import FilterKey, FilterValues, fields, filter_keys, moment, number
from retrieval.filters import parse_filter, parse_words


def keys_of(**values: list[Any]) -> tuple[FilterKey, ...]:
    """The keys of an index over documents that have one value each."""
    return filter_keys([{name: value} for name, several in values.items() for value in several])


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (["a", "b"], ("text",)),
        ([1, 2], ("integer",)),
        ([1, 0.5], ("float",)),
        ([2**63], ("float",)),
        ([True], ("boolean",)),
        ([True, 1, "x"], ("boolean", "integer", "text")),
        (["1990", "-3", "0"], ("integer",)),
        (["1990", "12.50"], ("float",)),
        (["1e-05"], ("float",)),
        (["1990", 0.5], ("float",)),
        (["1990", "007"], ("text",)),
        (["1990", "n/a"], ("text",)),
        (["+1"], ("text",)),
        ([" 1"], ("text",)),
        (["1_000"], ("text",)),
        (["٣"], ("text",)),
        (["12345678901234567890"], ("text",)),
        (["0.1234567890123456"], ("text",)),
        (["1e999"], ("text",)),
        (["2024-01-02", "2024-01-02T10:00:00+02:00", "2024-01-02 10:00"], ("time",)),
        (["2024-01-02", "2024-02-30"], ("text",)),
        (["2024-01-02", 5], ("integer", "time")),
        (["0001-01-01T00:00:00+14:00"], ("text",)),
        (["2024-01"], ("text",)),
        (["1990", "2024-01-02"], ("text",)),
        ([["a", 1], {"in": 2}], ("integer", "text")),
    ],
    ids=str,
)
def test_kinds_are_those_of_all_values(values: list[Any], kinds: tuple[str, ...]) -> None:
    assert [key.kinds for key in keys_of(key=values) if key.path == ("key",)] == [kinds]


def test_a_text_is_a_number_only_where_it_can_be_written_back() -> None:
    assert [number(text) for text in ("5", "-5", "5.50", "1e3", "05", "5.", ".5", "0x5", "", "nan", "inf")] == [
        5, -5, 5.5, 1000.0, None, None, None, None, None, None, None
    ]  # fmt: skip
    assert number(str(2**63 - 1)) == 2**63 - 1
    assert number(str(2**63)) is None


def test_times_are_one_form() -> None:
    assert {moment(t) for t in ("2024-01-02T12:00:00+02:00", "2024-01-02 10:00", "2024-01-02T10:00:00.0Z")} == {
        "2024-01-02T10:00:00Z"
    }
    assert moment("2024-01-02") == "2024-01-02T00:00:00Z"


def test_values_stand_in_the_field_of_their_kind() -> None:
    documents: list[Metadata] = [{"a": {"b": [1, "x", True]}, "c": "1990"}, {"c": 1.5}]
    keys = filter_keys(documents)
    assert fields(keys) == [
        ("document_id", "text"),
        ("filters.k0_boolean", "boolean"),
        ("filters.k0_integer", "integer"),
        ("filters.k0_text", "text"),
        ("filters.k1_float", "float"),
    ]
    assert FilterValues(keys)(documents[0]) == {
        "k0_integer": [1], "k0_text": ["x"], "k0_boolean": ["true"], "k1_float": [1990.0]
    }  # fmt: skip


def test_a_csv_column_of_numbers_takes_ranges_and_one_of_codes_does_not(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,text,year,code\na,x,1990,007\nb,y,2001,8\nc,z,,9\n")
    config = SourceConfig.model_validate({"files": {"documents": {"path": str(tmp_path / "d.csv")}}})
    rows = [row for task in read_tasks(config) for _, row in task.read() if isinstance(row, Document)]
    assert [row.metadata for row in rows][::2] == [{"year": "1990", "code": "007"}, {"code": "9"}]
    keys = filter_keys([dict(row.metadata) for row in rows])
    assert [(key.name, key.kinds) for key in keys] == [("code", ("text",)), ("year", ("integer",))]
    assert clause(parse_words(["year>=1990"]), keys) == Between("filters.k1_integer", {"gte": 1990.0}, times=False)
    assert clause(parse_words(["code=007"]), keys) == Match("filters.k0_text", ("007",))


def test_wanted_keys_are_found_and_others_refused(caplog: pytest.LogCaptureFixture) -> None:
    documents: list[Metadata] = [{"a.b": 1, "a": {"c": 2}, "d": 3}]
    assert [key.path for key in filter_keys(documents, ["d", "a.c", "document_id"])] == [("a", "c"), ("d",)]
    with pytest.raises(InputError, match=r"no filter by 'a\.d'"):
        filter_keys(documents, ["a.d"])
    many: Metadata = {f"k{i:02}": 1 for i in range(99)}
    with caplog.at_level(logging.WARNING, "catena"):
        kept = filter_keys([many, {"k98": 1}])
    assert len(kept) == 64 and ("k98",) in [key.path for key in kept]
    assert "99 metadata keys" in caplog.text


def test_the_documents_own_id_is_no_metadata_to_filter_by(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "catena"):
        assert [key.name for key in filter_keys([{"document_id": 5, "a": 1}])] == ["a"]
    assert "document_id: it names the document itself" in caplog.text


def test_memory_is_bounded_where_ids_are_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.filter_keys.MOST_SEEN", 3)
    documents: list[Metadata] = [{"by": {f"u{i}": 1}} for i in range(10)] + [{"year": 1990}]
    assert [key.name for key in filter_keys(documents)] == ["by.u0", "by.u1", "by.u2"]
    assert [key.name for key in filter_keys(documents, ["year"])] == ["year"]


NAMED = keys_of(
    lang=["en"], year=[1990], price=[0.5], day=["2024-01-02"], draft=[True], mixed=[5, "five"], author=[{"name": "A"}]
)
KEYS = (*NAMED, FilterKey(path=("x.y",), kinds=("text",)))
FIELD = {key.name: f"filters.k{n}" for n, key in enumerate(KEYS)}


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        ({"lang": ["en", "de", "en"]}, Match(f"{FIELD['lang']}_text", ("en", "de"))),
        ({"lang": 5}, Match(f"{FIELD['lang']}_text", ("5",))),
        ({"lang": True}, Match(f"{FIELD['lang']}_text", ("true",))),
        ({"year": "1990"}, Match(f"{FIELD['year']}_integer", (1990,))),
        ({"year": 1990.0}, Match(f"{FIELD['year']}_integer", (1990,))),
        ({"year": 0.5}, Between(f"{FIELD['year']}_integer", {"gte": 0.5, "lte": 0.5}, times=False)),
        ({"price": "1"}, Between(f"{FIELD['price']}_float", {"gte": 1.0, "lte": 1.0}, times=False)),
        ({"year": {"gt": "5"}}, Between(f"{FIELD['year']}_integer", {"gt": 5.0}, times=False)),
        ({"day": {"lt": "2024-01-03"}}, Between(f"{FIELD['day']}_time", {"lt": "2024-01-03T00:00:00Z"}, times=True)),
        ({"draft": "false"}, Match(f"{FIELD['draft']}_boolean", ("false",))),
        ({"mixed": 5}, Match(f"{FIELD['mixed']}_integer", (5,))),
        ({"mixed": "x"}, Match(f"{FIELD['mixed']}_text", ("x",))),
        (
            {"mixed": "5"},
            Some((Match(f"{FIELD['mixed']}_integer", (5,)), Match(f"{FIELD['mixed']}_text", ("5",)))),
        ),
        ({"mixed": {"exists": True}}, Some((Present(f"{FIELD['mixed']}_integer"), Present(f"{FIELD['mixed']}_text")))),
        ({}, None),
        ({"document_id": "d"}, Match("document_id", ("d",))),
        ({"not": {"lang": "en"}}, Without(Match(f"{FIELD['lang']}_text", ("en",)))),
        (
            {"author.name": "A", "draft": {"exists": False}},
            Every((Match(f"{FIELD['author.name']}_text", ("A",)), Without(Present(f"{FIELD['draft']}_boolean")))),
        ),
    ],
    ids=str,
)
def test_a_filter_asks_the_fields_of_its_keys(form: dict[str, Any], asked: object) -> None:
    assert clause(parse_filter(form), KEYS) == asked


def test_a_key_with_dots_needs_no_quotes_where_no_nested_one_has_its_name() -> None:
    assert clause(parse_words(["x.y=v"]), KEYS) == clause(parse_words(['"x.y"=v']), KEYS)
    both = filter_keys([{"x.y": "literal", "x": {"y": "nested"}}])
    assert clause(parse_words(["x.y=v"]), both) != clause(parse_words(['"x.y"=v']), both)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"lnag": "en"}, "no filter by 'lnag'.*did you mean 'lang'"),
        ({"autor.name": "A"}, "did you mean 'author.name'"),
        ({"author": "A"}, "no filter by 'author'.*it is an object; filter by author.name"),
        ({"lang": {"gte": "a"}}, "filter by 'lang': it holds text, which has no ranges"),
        ({"draft": {"gte": True}}, "it holds boolean, which has no ranges"),
        ({"document_id": {"gt": "a"}}, "has no ranges"),
        ({"year": "many"}, "filter by 'year': 'many' is no integer.*such as 1990"),
        ({"year": "007"}, "'007' is no integer"),
        ({"year": True}, "True is no integer"),
        ({"year": 2**70}, "is no integer of 64 bits"),
        ({"year": {"gte": "many"}}, "gte 'many' is no integer"),
        ({"day": "yesterday"}, "'yesterday' is no time.*such as 2024-01-02"),
        ({"day": {"gte": 2024}}, "gte 2024 is no time"),
        ({"day": {"gte": "2024-01-02", "lt": "soon"}}, "lt 'soon' is no time"),
        ({"draft": "maybe"}, "'maybe' is no boolean"),
        ({"not": {"yaer": 1}}, "did you mean 'year'"),
    ],
    ids=str,
)
def test_what_a_key_cannot_answer_is_refused(form: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        clause(parse_filter(form), KEYS)


NAMES = ["lang", "year", "price", "day", "draft", "mixed", "author.name", '"x.y"', "not", "exists", "gte", "lt"]
ANY_TEXT = st.sampled_from([*NAMES, "5", "2024-01-02", "true"]) | st.text(st.characters(), max_size=4)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY_FORM = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(ANY_TEXT, ANY_FORM, max_size=3))
def test_any_form_is_asked_or_refused_by_name(form: dict[str, Any]) -> None:
    """Whatever a request holds: a clause that an engine can be asked, or an InputError; nothing else."""
    try:
        asked = clause(parse_filter(form), KEYS)
    except InputError as error:
        str(error).encode(errors="strict")
        return
    assert (asked is None) == (not form)


@pytest.mark.parametrize(
    ("known", "later"),
    [
        ([1, 2], "two"),
        ([1, 2], 2.5),
        ([1, 2], 2**70),
        ([0.5], 10**400),
        ([True], 1),
        (["1999-12-31"], "soon"),
        (["1999-12-31"], "5"),
        (["x"], True),
        (["x"], 5),
    ],
    ids=repr,
)
def test_a_value_of_another_kind_than_its_key_is_found_by_no_filter(known: list[Any], later: Any) -> None:  # noqa: ANN401
    keys = filter_keys([{"key": value} for value in known])
    assert FilterValues(keys, foreign=True)({"key": [later, known[0]]}) == FilterValues(keys)({"key": known[0]})
    with pytest.raises(AssertionError, match="none of the kinds"):
        FilterValues(keys)({"key": later})
