"""Ids over all of a corpus: duplicate documents, links to unknown documents, duplicate links.

Everything is done on columns, partition by partition. Memory holds the ids of the documents and a few numbers a link.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import InputError
from data.files import whole_or_absent
from data.ids import are_among, codes, first_of_each, numbers_of
from data.partitions import partition_name, write_partition
from data.schema import REJECTS
from data.sources.landing import SCHEMAS, places_path
from data.sources.live import LiveChanges
from data.sources.rows import ReadTask

PARTITION_ROWS = 2**17
_LIVE = ("live_replaced", "live_deleted", "live_links")  # rows left out because of what was written while it was served
WINDOW_ROWS = 2**20  # rows looked up at once: the look-up table is built once a window


@dataclass
class Resolution:
    """Writes the final tables and keeps the counts.

    Documents of ``live``, which the last task reads, have the last word: those of other tasks under the ids that were
    put or deleted are left out, and with them the links to those that were deleted.
    """

    landed: Path
    out: Path
    tasks: list[ReadTask]
    undirected: bool
    strict: bool
    self_links: bool = False
    live: LiveChanges | None = None
    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[pa.Table] = field(default_factory=list)

    def run(self) -> dict[str, int]:
        """Write every table; returns the number of rows of each, and of what was removed."""
        self.counts.update(dict.fromkeys([*SCHEMAS, "self_links", "duplicate_links", *_LIVE], 0))
        documents = self._documents()
        self._links(documents)
        queries = self._queries()
        self._qrels(documents, queries)
        self._rejects()
        return dict(self.counts)

    def _documents(self) -> pa.ChunkedArray:
        """Keep the first document of each id. Returns the ids."""
        ids = self._column("documents", "id")
        left_out = self._left_out(ids)
        first = first_of_each(np.where(left_out, -1, codes(ids))) & ~left_out
        self._write_kept("documents", first, ids, "duplicate id", left_out)
        return ids.filter(pa.array(first))

    def _left_out(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Bool (n,): which documents were replaced or deleted while the run was served."""
        if self.live is None:
            return np.zeros(len(ids), bool)
        of_task = [int(path.name.split("-")[1]) for path in self._parts("documents")]
        rows = [pq.read_metadata(path).num_rows for path in self._parts("documents")]
        read = np.repeat(of_task, rows) != len(self.tasks) - 1
        replaced, deleted = (
            read & are_among(ids, _column_of(changed)) for changed in (self.live.put, self.live.deleted)
        )
        self.counts["live_replaced"], self.counts["live_deleted"] = int(replaced.sum()), int(deleted.sum())
        return np.asarray(replaced | deleted)

    def _queries(self) -> pa.ChunkedArray:
        ids = self._column("queries", "id")
        first = first_of_each(codes(ids))
        self._write_kept("queries", first, ids, "duplicate id")
        return ids.filter(pa.array(first))

    def _qrels(self, documents: pa.ChunkedArray, queries: pa.ChunkedArray) -> None:
        """Keep judgments whose question exists.

        A judged document that does not exist stays in the ideal ranking, as in trec_eval: figures stay comparable.
        """
        asked = self._column("qrels", "query_id")
        known = are_among(asked, queries)
        self.counts["unknown_judged"] = int((known & ~are_among(self._column("qrels", "document_id"), documents)).sum())
        self._write_kept("qrels", known, asked, "judgment of unknown query")

    def _links(self, documents: pa.ChunkedArray) -> None:
        """Keep links between known documents, the first of each pair and relation; see ``self_links`` for loops."""
        self._folder("links")
        windows = list(self._windows("links"))
        relations: dict[str, int] = {}
        keys = [self._keys(window, documents, relations) for window in windows]
        kept = np.concatenate(keys) if keys else np.empty(0, np.int64)
        kept = (kept >= 0) & first_of_each(kept)
        start = number = 0
        for window, key in zip(windows, keys, strict=True):
            keep = kept[start : start + len(key)]
            good = self._read("links", window).filter(pa.array(keep))
            self.counts["duplicate_links"] += int(((key >= 0) & ~keep).sum())
            self.counts["links"] += good.num_rows
            for first in range(0, good.num_rows, PARTITION_ROWS):
                self._write("links", number, good.slice(first, PARTITION_ROWS))
                number += 1
            start += len(key)
        if number == 0:
            self._write("links", 0, SCHEMAS["links"].empty_table())

    def _keys(self, window: list[Path], documents: pa.ChunkedArray, relations: dict[str, int]) -> np.ndarray:
        """One number for each link's relation and ends, the same for duplicate links; -1 where it is no link.

        Rejects links to unknown documents, and counts links of a document to itself unless they are kept.
        """
        table = self._read("links", window)
        source, target = (numbers_of(table[end], documents) for end in ("source", "target"))
        unknown, loop = (source < 0) | (target < 0), (source == target) & (source >= 0) & (not self.self_links)
        if unknown.any():
            names = pc.if_else(pa.array(source < 0), table["source"], table["target"])
            gone = unknown & are_among(names, _column_of(self.live.deleted if self.live else ()))
            self.counts["live_links"] += int(gone.sum())
            if (unknown & ~gone).any():
                self._reject("links", window, unknown & ~gone, names, "link to unknown document")
        self.counts["self_links"] += int(loop.sum())
        if self.undirected:
            source, target = np.minimum(source, target), np.maximum(source, target)
        codes = table["relation"].combine_chunks().dictionary_encode()
        numbers = [relations.setdefault(name, len(relations)) for name in codes.dictionary.to_pylist()]
        relation = np.asarray(numbers, np.int64)[codes.indices.to_numpy()]
        nodes = len(documents)
        if (len(relations) + 1) * nodes * nodes >= 2**63:
            raise InputError(f"{nodes:,} documents with {len(relations):,} relations", "Ingest the corpus in parts.")
        return np.where(unknown | loop, -1, (relation * nodes + source) * nodes + target)

    def _rejects(self) -> None:
        """The readers' rejects, then those of this step."""
        self._folder("rejects")
        number = 0
        for path in self._parts("rejects"):
            self.counts["rejects"] += pq.read_metadata(path).num_rows
            _link_or_copy(path, self.out / "rejects" / partition_name(number))
            number += 1
        for table in self.rejected or ([] if number else [REJECTS.empty_table()]):
            self.counts["rejects"] += table.num_rows
            self._write("rejects", number, table)
            number += 1

    def _write_kept(
        self, table: str, kept: np.ndarray, names: pa.ChunkedArray, reason: str, left_out: np.ndarray | None = None
    ) -> None:
        """Write the rows of a table that are kept; reject the others, named in the reason, but for those left out."""
        self._folder(table)
        bad = ~kept if left_out is None else ~kept & ~left_out
        start = 0
        paths = self._parts(table)
        for number, path in enumerate(paths):
            rows = pq.read_metadata(path).num_rows
            keep = kept[start : start + rows]
            target = self.out / table / partition_name(number)
            if keep.all():
                _link_or_copy(path, target)
            else:
                if bad[start : start + rows].any():
                    self._reject(table, [path], bad[start : start + rows], names.slice(start, rows), reason)
                write_partition(pq.read_table(path).filter(pa.array(keep)), target)
            start += rows
        if not paths:
            self._write(table, 0, SCHEMAS[table].empty_table())
        self.counts[table] += int(kept.sum())

    def _reject(self, table: str, paths: list[Path], bad: np.ndarray, names: Any, reason: str) -> None:  # noqa: ANN401
        """Note rows of landed partitions as rejected, with their places; ``bad`` runs over all rows of ``paths``."""
        rows = [pq.read_metadata(path).num_rows for path in paths]
        tasks = np.repeat([int(path.name.split("-")[1]) for path in paths], rows)[bad]
        positions = np.concatenate([pq.read_table(places_path(path))["position"].to_numpy() for path in paths])[bad]
        content = self._read(table, paths).select(_short_columns(table)).filter(pa.array(bad))
        found = pa.table(
            {
                "table": [table] * len(positions),
                "source": [self.tasks[n].source for n in tasks],
                "place": [f"{self.tasks[n].unit} {p}" for n, p in zip(tasks, positions, strict=True)],
                "reason": [f"{reason} {name!r}" for name in names.filter(pa.array(bad)).to_pylist()],
                "content": [_shown(row) for row in content.to_pylist()],
            },
            schema=REJECTS,
        )
        if self.strict:
            first = found.slice(0, 1).to_pylist()[0]
            raise strict_error(f"{first['source']}, {first['place']}: {first['reason']}")
        self.rejected.append(found)

    def _column(self, table: str, column: str) -> pa.ChunkedArray:
        """One column of all partitions; `large`, as ids together may pass 2 GiB."""
        paths = self._parts(table)
        chunks = [
            pq.read_table(path, columns=[column])[column].cast(pa.large_string()).combine_chunks() for path in paths
        ]
        return pa.chunked_array(chunks, pa.large_string())

    def _read(self, table: str, paths: list[Path]) -> pa.Table:
        return pa.concat_tables([pq.read_table(path, schema=SCHEMAS[table]) for path in paths])

    def _parts(self, table: str) -> list[Path]:
        return sorted((self.landed / table).glob("part-*.parquet"))

    def _windows(self, table: str) -> Iterator[list[Path]]:
        window: list[Path] = []
        rows = 0
        for path in self._parts(table):
            window.append(path)
            rows += pq.read_metadata(path).num_rows
            if rows >= WINDOW_ROWS:
                yield window
                window, rows = [], 0
        if window:
            yield window

    def _folder(self, table: str) -> None:
        (self.out / table).mkdir(parents=True, exist_ok=True)

    def _write(self, table: str, number: int, rows: pa.Table) -> None:
        write_partition(rows, self.out / table / partition_name(number))


def strict_error(reject: str, key: str = "source.strict") -> InputError:
    """The error to raise for a reject where a key of the run file wants none."""
    return InputError(f"rejected: {reject}", f"Correct it, or run without {key}: such rows go to the rejects table.")


def _column_of(ids: Iterable[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(sorted(ids), pa.large_string())])


def _short_columns(table: str) -> list[str]:
    return ["id", "title"] if table == "documents" else SCHEMAS[table].names[:3]


def _shown(row: dict[str, Any]) -> str:
    return "\t".join(str(value) for value in row.values())[:500]


def _link_or_copy(path: Path, target: Path) -> None:
    """The same rows under a final name, without reading them where the file system can."""
    with whole_or_absent(target) as unfinished:
        unfinished.unlink(missing_ok=True)  # it may be a link to the same file, of a killed process of the same number
        try:
            os.link(path, unfinished)
        except OSError:
            shutil.copyfile(path, unfinished)
