"""Features that cannot be used are told, each kind with its reason."""

from dataclasses import replace

import numpy as np
import pytest

from data.errors import InputError
from data.features.check import validate
from data.features.table import Features

NAMES = ("runs", "success")
NOW = 10**15
GOOD = Features(NAMES, np.array([[1.0, 0.5], [2.0, 0.25], [0.0, 0.5]], np.float32), ("a", "b", "c"), NOW)


def with_values(values: object) -> Features:
    return replace(GOOD, values_CF=np.asarray(values, np.float32))


def test_good_ones_have_no_problem() -> None:
    assert validate(GOOD, NAMES, NOW, 60.0) == []


@pytest.mark.parametrize(
    ("features", "kind", "said"),
    [
        (with_values(np.zeros((2, 2))), "dimension", "(2, 2), and must be (3, 2)"),
        (replace(GOOD, names=("runs", "rating")), "dimension", "success"),
        (with_values([[1, 0], [np.nan, 1], [2, np.inf]]), "nan", "2 values are no numbers, the first is runs of 'b'"),
        (with_values([[1, 0], [3e4, 0], [1, 1]]), "norm", "the row of 'b'"),
        (with_values(np.ones((3, 2))), "collapse", "all 3 rows are alike"),
        (replace(GOOD, time=NOW - 3600 * 10**6), "staleness", "3,600 s old, and may be 60 s"),
        (replace(GOOD, time=NOW + 3600 * 10**6), "staleness", "a time to come"),
    ],
)
def test_a_problem_is_told_with_its_kind(features: Features, kind: str, said: str) -> None:
    (problem,) = validate(features, NAMES, NOW, 60.0)
    assert problem.kind == kind and said in problem.reason


def test_one_row_is_no_collapse() -> None:
    one = Features(NAMES, np.ones((1, 2), np.float32), ("a",), NOW)
    assert validate(one, NAMES, NOW, 60.0) == []


def test_values_are_taken_by_names_and_ids() -> None:
    np.testing.assert_array_equal(GOOD.of(["c", "new", "a"], ["success"]), [[0.5], [0.0], [0.5]])
    with pytest.raises(InputError, match="succes"):
        GOOD.named(["succes"])


def test_a_version_is_that_of_the_content() -> None:
    assert GOOD.version == with_values(GOOD.values_CF.copy()).version
    assert len({GOOD.version, replace(GOOD, time=1).version, with_values(GOOD.values_CF + 1).version}) == 3
