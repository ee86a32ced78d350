"""Facts of documents that a ranker may go by beside their texts: their place in the links, and their age.

Shapes: N documents that are asked about.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import xxhash

from data.files import whole_or_absent
from data.metadata import Metadata
from retrieval.filter_keys import moment

Values = npt.NDArray[np.float64]

FACTS = "facts.npy"  # in the folder of a ranker that was trained with links
SECONDS_A_DAY = 86_400.0

_ROW = np.dtype([("id", "<u8"), ("degree", "<f4"), ("pagerank", "<f4")])
_YEAR = re.compile(r"\d{4}", re.ASCII)


class DocumentFacts:
    """Degree and PageRank of documents by their ids, from a file that is memory-mapped: 16 bytes a document.

    Ids are known by 64-bit hashes; of a million, one in thirty million shares its hash with another.

    Args:
        rows: ``id``, ``degree`` and ``pagerank``, ascending by ``id``.
    """

    def __init__(self, rows: npt.NDArray[np.void]) -> None:
        self._rows = rows

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """What ``write_facts`` wrote into a folder; None where there is nothing."""
        file = folder / FACTS
        return cls(np.load(file, mmap_mode="r")) if file.is_file() else None

    def of(self, ids: Sequence[str]) -> Values:
        """Degrees and PageRanks: float64 (2, N); NaN of documents that were not there when these were computed."""
        found = np.full((2, len(ids)), np.nan)
        if len(self._rows) and len(ids):
            marks = np.array([_mark(id_) for id_ in ids], np.uint64)
            at = np.minimum(np.searchsorted(self._rows["id"], marks), len(self._rows) - 1)
            known = self._rows["id"][at] == marks
            for row, name in enumerate(("degree", "pagerank")):
                found[row, known] = self._rows[name][at[known]]
        return found


def write_facts(folder: Path, ids: Sequence[str], degree: npt.NDArray[Any], pagerank: npt.NDArray[Any]) -> None:
    """Write the facts of all documents of a corpus.

    Args:
        folder: receives ``facts.npy``.
        ids: of n documents.
        degree: (n,) of each the number of documents it is linked with.
        pagerank: (n,) of each.
    """
    rows = np.empty(len(ids), _ROW)
    rows["id"] = [_mark(id_) for id_ in ids]
    rows["degree"], rows["pagerank"] = degree, pagerank
    with whole_or_absent(folder / FACTS) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.sort(rows, order="id"))


def _mark(id_: str) -> int:
    return xxhash.xxh64_intdigest(id_.encode())


@dataclass(frozen=True)
class Dates:
    """How old documents are, by a key of their metadata.

    Attributes:
        path: keys that lead to the date.
        newest: the newest date of the corpus when the ranker was trained, in days since 1970. Ages are counted from it
            and not from today: what was learned of an age stays true, and documents put later are younger than 0.
    """

    path: tuple[str, ...]
    newest: float

    def ages(self, documents: Sequence[Metadata]) -> Values:
        """Ages in days, float64 (N,); NaN of documents without a date."""
        return self.newest - np.array([day_of(metadata, self.path) for metadata in documents], np.float64)


def day_of(metadata: Metadata, path: Sequence[str]) -> float:
    """Days since 1970 of the date that a path leads to; of several, the newest; NaN where there is none.

    A date is a text of RFC 3339 or a year, as a number or as a text of four digits, which is its first of January.
    """
    value: Any = metadata
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    days = [_day(one) for one in (value if isinstance(value, list) else [value])]
    return max((day for day in days if not np.isnan(day)), default=np.nan)


def _day(value: object) -> float:
    if isinstance(value, str) and _YEAR.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 9999:
        return datetime(value, 1, 1, tzinfo=UTC).timestamp() / SECONDS_A_DAY
    time = moment(value) if isinstance(value, str) else None
    return np.nan if time is None else datetime.fromisoformat(time).timestamp() / SECONDS_A_DAY
