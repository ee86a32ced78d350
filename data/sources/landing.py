"""Rows of one read task, written to Parquet as they come; ids and links are looked at later, over all tasks.

A task's partitions have names made of its number, so a task that was killed and runs again overwrites what it had
written; a file of counts, written last, marks it as done.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.errors import InputError
from data.files import whole_or_absent
from data.metadata import write_metadata
from data.partitions import write_partition
from data.schema import CAPABILITIES, DOCUMENTS, LINKS, QRELS, QUERIES, REJECTS, TOOLS, TRACES
from data.sources.rows import TABLE_OF, Document, ReadTask, Reject, Row, Skipped
from data.surrogates import replace_surrogates

ROWS = {"documents": 8192}  # in a partition; rows of the other tables are narrow
NARROW_ROWS = 65_536
CHARACTERS = 32 * 2**20  # a partition is closed earlier when its texts are this long, so that memory stays flat
SCHEMAS = {"documents": DOCUMENTS, "links": LINKS, "queries": QUERIES, "qrels": QRELS, "rejects": REJECTS}
CATALOGUE_SCHEMAS = {"tools": TOOLS, "capabilities": CAPABILITIES, "traces": TRACES, "rejects": REJECTS}
PLACES = pa.schema([pa.field("position", pa.int64(), nullable=False)])


def counts_path(folder: Path, number: int) -> Path:
    """The file of counts that marks a task as done."""
    return folder / f"task-{number:05d}.json"


def partition_path(folder: Path, table: str, task: int, part: int) -> Path:
    """A partition of a task; sorted by name is sorted by task and part."""
    return folder / table / f"part-{task:05d}-{part:05d}.parquet"


def places_path(partition: Path) -> Path:
    """The file beside a partition that holds the position of each of its rows in the source."""
    return partition.with_name(f"places-{partition.name}")


def land(
    task: ReadTask, number: int, folder: Path, strict: bool, schemas: Mapping[str, pa.Schema] = SCHEMAS
) -> dict[str, Any]:
    """Read one task and write its rows under ``folder``.

    Args:
        task: what to read.
        number: its number, part of every file name.
        folder: where partitions go, one folder a table.
        strict: stop at the first reject and return it under ``first_reject``.
        schemas: of the tables that there are.

    Returns:
        The number of rows of each table; ``skipped``, their number by kind; ``without_text``, the number of documents
        that have only a title; ``misfits``, for each table the number of rejects that lack a needed column, and the
        first of them with its place and content.

    Raises:
        InputError: if the source as a whole cannot be read.
    """
    done = counts_path(folder, number)
    if done.exists():
        counts: dict[str, Any] = json.loads(done.read_text())
        return counts
    spools = {table: _Spool(table, schema, number, folder) for table, schema in schemas.items()}
    skipped: Counter[str] = Counter()
    misfits: dict[str, tuple[int, str]] = {}
    without_text = 0
    try:
        for position, row in task.read():
            if isinstance(row, Skipped):
                skipped[row.kind] += 1
            elif isinstance(row, Reject):
                place, reason, content = (
                    f"{task.unit} {position}",
                    replace_surrogates(row.reason),
                    replace_surrogates(row.content),
                )
                spools["rejects"].add((row.table, task.source, place, reason, content), position)
                if strict:
                    return {"first_reject": f"{task.source}, {place}: {reason}"}
                if row.misfit:
                    count, first = misfits.get(row.table, (0, f"{task.source}, {place}: {reason} in {content}"))
                    misfits[row.table] = (count + 1, first)
            else:
                without_text += isinstance(row, Document) and not row.text
                spools[TABLE_OF[type(row)]].add(row, position)
    except OSError as error:
        problem = f"{error.filename or task.source}: {error.strerror or error}"
        raise InputError(problem, "Check that the source can be read and the workspace written.") from error
    for spool in spools.values():
        spool.flush()
    counts = {
        "skipped": dict(skipped),
        "misfits": misfits,
        "without_text": without_text,
        **{table: spool.total for table, spool in spools.items()},
    }
    with whole_or_absent(done) as unfinished:
        unfinished.write_text(json.dumps(counts))
    return counts


class _Spool:
    """Collects rows of one table and writes a partition whenever enough have come."""

    def __init__(self, table: str, schema: pa.Schema, task: int, folder: Path) -> None:
        self.table, self.schema, self.task, self.folder = table, schema, task, folder
        self.total = 0
        self.part = 0
        self.characters = 0
        self.rows: list[tuple[Any, ...]] = []  # a row's cells, as the columns of the table have them
        self.positions: list[int] = []

    def add(self, row: Row | tuple[str, ...], position: int) -> None:
        if isinstance(row, Document):
            cell = write_metadata(row.metadata)
            self.characters += len(row.text) + len(cell or "")
            self.rows.append((row.id, row.title, row.text, cell, row.time))
        else:
            self.rows.append(row)
        self.positions.append(position)
        if len(self.rows) >= ROWS.get(self.table, NARROW_ROWS) or self.characters >= CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if not self.rows:
            return
        path = partition_path(self.folder, self.table, self.task, self.part)
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = [list(column) for column in zip(*self.rows, strict=True)]
        write_partition(pa.table([self.positions], schema=PLACES), places_path(path))
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
        write_partition(pa.Table.from_arrays(arrays, schema=self.schema), path)
        self.total += len(self.rows)
        self.part += 1
        self.characters = 0
        self.rows, self.positions = [], []
