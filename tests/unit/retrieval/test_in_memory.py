"""Filters in memory let the same rows pass as the oracle that both engines are held against."""

import numpy as np
import pytest

from data.errors import InputError
from retrieval.filters import parse_filter
from retrieval.in_memory import FilteredRows
from tests.unit.retrieval.test_congruence import holds, random_filter, random_metadata

COUNT = 300


def test_random_filters_let_the_same_rows_pass_as_the_oracle() -> None:
    metadata, ids = random_metadata(COUNT), [f"doc/{n}" for n in range(COUNT)]
    rows, rng = FilteredRows(ids, metadata), np.random.default_rng(3)
    passed = 0
    for _ in range(400):
        asked = random_filter(rng)
        expected = [holds(asked, {**one, "document_id": id_}) for id_, one in zip(ids, metadata, strict=True)]
        assert rows.passing(parse_filter(asked)).tolist() == expected, asked
        passed += sum(expected)
    assert 0 < passed < 400 * COUNT


def test_a_filter_without_conditions_lets_all_pass_and_an_unknown_key_is_told() -> None:
    rows = FilteredRows(["a", "b"], [{"lang": "en"}, {}])
    assert rows.passing(parse_filter({})).tolist() == [True, True]
    assert rows.passing(parse_filter({"lang": "en"})).tolist() == [True, False]
    with pytest.raises(InputError, match="langs"):
        rows.passing(parse_filter({"langs": "en"}))


def test_of_no_rows_none_passes() -> None:
    assert FilteredRows([], []).passing(parse_filter({"document_id": "a"})).tolist() == []
