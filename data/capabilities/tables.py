"""Tables of a catalogue as its readers have left them, with the place of each row in its source."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.schema import REJECTS
from data.sources.landing import CATALOGUE_SCHEMAS, places_path
from data.sources.rows import ReadTask

PLACE, SHOWN = "_place", 500  # column of the row's number among all that were read; characters of a rejected row


class Landed:
    """What readers have left, and the rows that are rejected of it.

    Args:
        folder: that ``land`` wrote.
        tasks: that it was given, in the order of their numbers.
    """

    def __init__(self, folder: Path, tasks: Sequence[ReadTask]) -> None:
        self._folder, self._tasks = folder, tasks
        self._rejected: list[pa.Table] = []

    def has(self, table: str) -> bool:
        """Whether any row of a table was read."""
        return bool(self._parts(table))

    def read(self, table: str) -> pa.Table:
        """All rows of a table, with a column that says where each was read."""
        parts = self._parts(table)
        schema = CATALOGUE_SCHEMAS[table]
        rows = (
            pa.concat_tables([pq.read_table(part, schema=schema) for part in parts]) if parts else schema.empty_table()
        )
        return rows.append_column(PLACE, pa.array(np.arange(rows.num_rows)))

    def reject(self, table: str, rows: pa.Table, reasons: Sequence[str]) -> str:
        """Reject rows; returns the first as one line."""
        places = [self._place(table, place) for place in rows[PLACE].to_pylist()]
        contents = [str(row)[:SHOWN] for row in rows.drop_columns([PLACE]).to_pylist()]
        sources, positions = [source for source, _ in places], [position for _, position in places]
        columns = [[table] * rows.num_rows, sources, positions, list(reasons), contents]
        self._rejected.append(
            pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=REJECTS)
        )
        return f"{sources[0]}, {positions[0]}: {reasons[0]}"

    def rejects(self) -> pa.Table:
        """Rows that the readers rejected, then those of ``reject``."""
        read = [pq.read_table(part, schema=REJECTS) for part in self._parts("rejects")]
        return pa.concat_tables([REJECTS.empty_table(), *read, *self._rejected])

    def _place(self, table: str, row: int) -> tuple[str, str]:
        """Source and position of a row."""
        for part in self._parts(table):
            count = pq.read_metadata(part).num_rows
            if row < count:
                task = self._tasks[int(part.name.split("-")[1])]
                position = pq.read_table(places_path(part))["position"][row].as_py()
                return task.source, f"{task.unit} {position}"
            row -= count
        return "", ""

    def _parts(self, table: str) -> list[Path]:
        return sorted((self._folder / table).glob("part-*.parquet"))


def in_cycles(ids: Sequence[str], parents: Sequence[str | None]) -> np.ndarray:
    """Bool (n,): whose parents, and the parents of these, never end."""
    number = {id_: place for place, id_ in enumerate(ids)}
    above = np.array([number.get(name, -1) if name is not None else -1 for name in parents], np.int64)
    for _ in range(len(ids).bit_length()):  # each round looks twice as far up
        above = np.where(above >= 0, above[above], -1)
    return np.asarray(above >= 0)
