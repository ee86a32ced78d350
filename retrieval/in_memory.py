"""Filters on metadata that is held in memory: which rows pass, by the rules that the engines follow.

Shapes: N rows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from data.metadata import Metadata
from retrieval.clauses import Between, Clause, Every, Match, Present, Some, Without, clause
from retrieval.filter_keys import DOCUMENT_ID, FilterValues, Stored, filter_keys
from retrieval.filters import Filter

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

_COMPARE: Mapping[str, np.ufunc] = {
    "gt": np.greater,
    "gte": np.greater_equal,
    "lt": np.less,
    "lte": np.less_equal,
}


class FilteredRows:
    """Metadata by field and value.

    Args:
        ids: of the rows, which filters name as ``document_id``.
        metadata: of the rows.
    """

    def __init__(self, ids: Sequence[str], metadata: Sequence[Metadata]) -> None:
        self._count = len(ids)
        self.keys = filter_keys(metadata)
        rows: dict[str, dict[Stored, list[int]]] = defaultdict(lambda: defaultdict(list))
        values_of = FilterValues(self.keys)
        for row, (id_, of_row) in enumerate(zip(ids, metadata, strict=True)):
            rows[DOCUMENT_ID][id_].append(row)
            for name, values in values_of(of_row).items():
                for value in values:
                    rows[f"filters.{name}"][value].append(row)
        self._rows: dict[str, dict[Stored, Numbers]] = {
            field: {value: np.array(numbers, np.int64) for value, numbers in of_field.items()}
            for field, of_field in rows.items()
        }

    def passing(self, filter_: Filter) -> Mask:
        """Which rows pass, bool (N,).

        Raises:
            InputError: if the filter names an unknown key, or a value that no value of the key can equal.
        """
        asked = clause(filter_, self.keys)
        return np.ones(self._count, bool) if asked is None else self._holds(asked)

    def _holds(self, asked: Clause) -> Mask:
        match asked:
            case Match():
                of_field = self._rows.get(asked.field, {})
                return self._mask([of_field[value] for value in asked.values if value in of_field])
            case Between():
                return self._mask(self._between(asked))
            case Present():
                return self._mask(list(self._rows.get(asked.field, {}).values()))
            case Every():
                return np.asarray(np.logical_and.reduce([self._holds(inner) for inner in asked.clauses]))
            case Some():
                return np.asarray(np.logical_or.reduce([self._holds(inner) for inner in asked.clauses]))
            case Without():
                return ~self._holds(asked.clause)

    def _between(self, asked: Between) -> list[Numbers]:
        """Rows of each value within the bounds."""
        of_field = self._rows.get(asked.field, {})
        values = np.array([_comparable(value, asked.times) for value in of_field], np.float64)
        within = np.ones(len(values), bool)
        for name, bound in asked.bounds.items():
            within &= _COMPARE[name](values, _comparable(bound, asked.times))
        return [rows for rows, inside in zip(of_field.values(), within.tolist(), strict=True) if inside]

    def _mask(self, rows: Sequence[Numbers]) -> Mask:
        passing = np.zeros(self._count, bool)
        if rows:
            passing[np.concatenate(rows)] = True
        return passing


def _comparable(value: Stored, time: bool) -> float:
    """A number as it is; a time in RFC 3339 as seconds since 1970, exact to the microsecond for this century."""
    return datetime.fromisoformat(str(value)).timestamp() if time else float(value)
