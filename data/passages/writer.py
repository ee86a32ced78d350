"""The tables that chunking reads and writes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.partitions import partition_name, read_batches, write_partition
from data.passages import Cut
from data.passages.text import passage_title
from data.schema import PASSAGES, passage_id

SCHEMA = PASSAGES.append(pa.field("title", pa.string(), nullable=False))


def read_texts(documents: Path) -> Iterator[list[tuple[str, str, str]]]:
    """Id, title and text of documents, in the table's order, 256 at a time."""
    for batch in read_batches(documents, columns=["id", "title", "text"], rows=256):
        columns = (batch[name].to_pylist() for name in ("id", "title", "text"))
        yield list(zip(*columns, strict=True))


class PassageWriter:
    """Writes passages, and their parents, to partitions of the configured size.

    Args:
        out: the artifact's folder; passages go to ``passages/`` in it, parents to ``parents/``.
        partition_rows: rows of a partition.
        with_title: whether passages carry their document's title; those of a document without a text always do.
        parents: whether there are any.
    """

    def __init__(self, out: Path, partition_rows: int, with_title: bool, parents: bool = False) -> None:
        self._with_title = with_title
        self._passages = _Table(out / "passages", partition_rows)
        self._parents = _Table(out / "parents", partition_rows) if parents else None
        self._documents = 0
        self._longest = 0

    def add(self, document_id: str, title: str, text: str, cuts: Sequence[Cut]) -> None:
        """Add the passages of a document."""
        self._documents += 1
        shown = passage_title(title, text, self._with_title)
        written = None
        for (start, end), parent in cuts:
            parent_id = None if parent is None else passage_id(document_id, *parent)
            if parent is not None and parent != written and self._parents is not None:
                self._parents.add((parent_id, document_id, *parent, None, text[slice(*parent)], shown))
                written = parent
            self._passages.add(
                (passage_id(document_id, start, end), document_id, start, end, parent_id, text[start:end], shown)
            )
            self._longest = max(self._longest, end - start)

    def close(self) -> dict[str, Any]:
        """Write what is left, an empty partition if there was nothing at all, and count."""
        counts = {
            "documents": self._documents,
            "passages": self._passages.close(),
            "partitions": self._passages.partitions,
            "longest_chars": self._longest,
        }
        return counts if self._parents is None else {**counts, "parents": self._parents.close()}


class _Table:
    """Rows of ``SCHEMA`` to partitions."""

    def __init__(self, folder: Path, partition_rows: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._size = partition_rows
        self._rows: list[tuple[Any, ...]] = []
        self._count = 0
        self.partitions = 0

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        self._count += 1
        if len(self._rows) == self._size:
            self._write()

    def close(self) -> int:
        """Number of rows."""
        if self._rows or not self.partitions:
            self._write()
        return self._count

    def _write(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        write_partition(pa.Table.from_arrays(arrays, schema=SCHEMA), self._folder / partition_name(self.partitions))
        self.partitions += 1
        self._rows.clear()
