"""Traces in memory, as arrays over the numbers of a catalogue.

Shapes: N traces, Q distinct intents, S capabilities shown by all traces together, P steps of all traces together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.capabilities.catalogue import Catalogue
from data.ids import numbers_of
from data.partitions import read_table
from data.schema import OUTCOMES, TRACES

Numbers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, one after the other.

    Attributes:
        indptr: int64 (N + 1,), where each list begins.
        values: of all lists.
    """

    indptr: Numbers
    values: npt.NDArray[Any]

    def __getitem__(self, number: int) -> npt.NDArray[Any]:
        """One list."""
        return self.values[self.indptr[number] : self.indptr[number + 1]]

    def take(self, numbers: Numbers) -> "Ragged":
        """Some of the lists, in the order of ``numbers``."""
        lengths = np.diff(self.indptr)[numbers]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.indptr[numbers] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return Ragged(indptr, self.values[places])


@dataclass(frozen=True)
class Traces:
    """Traces by number.

    Attributes:
        intents: (Q,) distinct texts, in the order in which they first occur. Texts that differ in case or in white
            space alone are one, so that a split never has the same question on both sides.
        intent: int64 (N,), number of each trace's intent.
        chosen: int64 (N,), capability that was run.
        reward: float64 (N,), of the outcome (success 1, partial 0.5, failure 0), else the rating; NaN where neither is
            known.
        time: int64 (N,), microseconds since 1970; -1 where it is not known.
        session: int64 (N,), number of the session; -1 where there is none.
        seconds: float64 (N,), NaN where it is not known.
        rating: float64 (N,), 0 to 1, NaN where there is none.
        context: numbers of tools, -1 for one that the catalogue does not have.
        shown: numbers of capabilities, best first, -1 for one that the catalogue does not have.
        propensities: float64, of ``shown``; all NaN where they were not logged.
        passed_over: bool (N,), whether the propensities drew another one than was run: the first of ``shown``.
        steps: float64, rewards of the steps of each trace.
    """

    intents: list[str]
    intent: Numbers
    chosen: Numbers
    reward: Values
    time: Numbers
    session: Numbers
    seconds: Values
    rating: Values
    context: Ragged
    shown: Ragged
    propensities: Ragged
    passed_over: npt.NDArray[np.bool_]
    steps: Ragged

    @classmethod
    def open(cls, folder: Path, catalogue: Catalogue) -> "Traces":
        """Read what ``ingest_catalogue`` wrote."""
        return cls.of_table(read_table(folder / "traces", schema=TRACES), catalogue)

    @classmethod
    def of_table(cls, rows: pa.Table, catalogue: Catalogue) -> "Traces":
        """Of a resolved table: every choice is in the catalogue."""
        rows = rows.combine_chunks()
        texts, intent = _distinct(rows["intent"])
        known = (catalogue.tools, catalogue.capabilities)
        tools, capabilities = (pa.chunked_array([pa.array(ids, pa.string())]) for ids in known)
        outcome, rating = _rewards(rows["outcome"]), _floats(rows["rating"])
        shown = _ragged(rows["shown"], lambda flat: numbers_of(flat, capabilities))
        given = np.repeat(np.asarray(pc.is_valid(rows["propensities"])), np.diff(shown.indptr))
        propensities = np.full(len(shown.values), np.nan)
        propensities[given] = np.asarray(pc.list_flatten(rows["propensities"]), np.float64)
        return cls(
            intents=texts,
            intent=intent,
            chosen=numbers_of(rows["chosen"], capabilities),
            reward=np.where(np.isnan(outcome), rating, outcome),
            time=np.asarray(pc.fill_null(rows["time"].cast(pa.int64()), -1), np.int64),
            session=np.asarray(
                pc.fill_null(rows["session"].combine_chunks().dictionary_encode().indices, -1), np.int64
            ),
            seconds=_floats(rows["seconds"]),
            rating=rating,
            context=_ragged(rows["context"], lambda flat: numbers_of(flat, tools)),
            shown=shown,
            propensities=Ragged(shown.indptr, propensities),
            passed_over=_flags(rows, "passed_over"),
            steps=_ragged(rows["steps"], lambda flat: _rewards(pc.struct_field(flat, "outcome"))),
        )

    def __len__(self) -> int:
        """Traces."""
        return len(self.chosen)

    def take(self, numbers: Numbers) -> "Traces":
        """Some of the traces; the intents keep their numbers."""
        plain = ("intent", "chosen", "reward", "time", "session", "seconds", "rating", "passed_over")
        lists = ("context", "shown", "propensities", "steps")
        columns = {name: getattr(self, name)[numbers] for name in plain}
        return Traces(self.intents, **columns, **{name: getattr(self, name).take(numbers) for name in lists})


def normalised(intent: str) -> str:
    """An intent as it is compared with others: case and white space do not count."""
    return " ".join(intent.casefold().split())


def _distinct(intents: pa.ChunkedArray) -> tuple[list[str], Numbers]:
    """The first text of each normalised intent, and the number of each trace's."""
    encoded = intents.combine_chunks().dictionary_encode()
    texts: list[str] = []
    number_of: dict[str, int] = {}
    numbers = []
    for text in encoded.dictionary.to_pylist():
        number = number_of.setdefault(normalised(text), len(texts))
        if number == len(texts):
            texts.append(text)
        numbers.append(number)
    return texts, np.asarray(numbers, np.int64)[np.asarray(encoded.indices, np.int64)]


def _rewards(outcomes: pa.ChunkedArray) -> Values:
    names, values = list(OUTCOMES), np.array([*OUTCOMES.values(), np.nan])
    return np.asarray(values[numbers_of(outcomes, pa.chunked_array([names]))])


def _floats(column: pa.ChunkedArray) -> Values:
    return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan), np.float64)


def _flags(rows: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    """A column of flags, false where it is null; tables that were written before there was one have none."""
    if name not in rows.column_names:
        return np.zeros(len(rows), bool)
    return np.asarray(pc.fill_null(rows[name], False), bool)


def _ragged(lists: pa.ChunkedArray, convert: Any) -> Ragged:  # noqa: ANN401 - a function of a flat column
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), np.int64)
    return Ragged(np.concatenate([[0], np.cumsum(lengths)]), convert(pc.list_flatten(lists)))
