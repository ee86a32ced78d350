"""Documents that were put and deleted while a service runs, on disk before anybody is told so.

One SQLite file a run: a row an id, with the number of the write that was the last to change it. It is the write-ahead
log of the live part, which is filled from it when its owner starts, and what ``catena index`` reads. Numbers only grow.
"""

import json
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.locks import has_no_locks, holder, try_lock
from data.metadata import Metadata
from data.passages import Cut
from serving.schemas import Document

FILE = "documents.sqlite"
LOCK_S = 10.0  # a replica that is replaced needs some seconds to end; Ray Serve tries to start the next one three times

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (
    id TEXT PRIMARY KEY, write INTEGER NOT NULL, form TEXT, source BLOB, made BLOB, vectors BLOB, tokens BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS documents_write ON documents (write);
"""
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)"
_LAST = "SELECT coalesce(max(write), 0) FROM documents"
_SOURCES = "SELECT write, id, source FROM documents WHERE write > ? AND write <= ? ORDER BY write LIMIT ?"
_PAGE = 1000  # rows that are read at once, while the owner waits

Vectors = npt.NDArray[np.float32]


class NotWritten(InputError):
    """The disk refuses a write; none of it was done."""


@dataclass(frozen=True)
class PreparedDocument:
    """A document as it was put, and what the index holds of it.

    Args:
        id: of the document.
        source: columns ``title``, ``text``, ``metadata`` and ``time`` as they were put.
        title: after the run's own steps, as the text and the metadata.
        text: that was cut.
        metadata: that filters ask.
        cuts: spans of its passages in the text, each with its parent's where it has one.
        passage_title: that its passages carry.
        vectors: of the passages, float32 (n, dim), of unit length.
        tokens: token vectors of the passages, each float32 (tokens, late_dim), where the index holds such.
    """

    id: str
    source: dict[str, Any]
    title: str
    text: str
    metadata: Metadata
    cuts: Sequence[Cut]
    passage_title: str
    vectors: Vectors
    tokens: Sequence[Vectors] | None = None


Change = PreparedDocument | str
"""A document that was put, or the id of one that was deleted."""


class LiveStore:
    """The file of a run, of which one process at a time is the owner.

    Args:
        folder: of the file; made where it is absent.
        form: of what it writes: names everything that decides passages and vectors of a document.
        lock_s: seconds to wait for another owner to end.

    Raises:
        InputError: if another process owns it.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, form: str, lock_s: float = LOCK_S) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _owned(folder, lock_s)
        self._release = weakref.finalize(self, lambda: None if lock is None else lock.close())
        self._form = form
        self._busy = threading.Lock()
        # A rollback journal: a log of its own (WAL) would bind readers to this machine. FULL: synchronised, then true.
        self._file = sqlite3.connect(folder / FILE, check_same_thread=False, isolation_level=None)
        self._file.executescript(f"PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; {_TABLES}")
        self.last = int(self._file.execute(_LAST).fetchone()[0])

    def write(self, changes: Sequence[Change]) -> int:
        """Do all changes, in their order, or none; they are on disk when this returns.

        Returns:
            The number of the last of them.

        Raises:
            NotWritten: if the disk refuses.
        """
        rows = [self._row(change, number) for number, change in enumerate(changes, self.last + 1)]
        try:
            with self._busy, self._file:
                self._file.execute("BEGIN IMMEDIATE")
                self._file.executemany(_PUT, rows)
        except sqlite3.OperationalError as error:
            raise NotWritten(
                f"documents cannot be written now: {error}", "Free some space, and send it again."
            ) from error
        self.last += len(changes)
        return self.last

    def since(self, number: int) -> Iterator[Change]:
        """What was changed after a write, each id once.

        Raises:
            InputError: if a document was made in another form.
        """
        query = "SELECT id, form, source, made, vectors, tokens FROM documents WHERE write > ? ORDER BY write"
        for id_, form, *cells in self._file.execute(query, (number,)):
            if cells[0] is not None and form != self._form:
                raise InputError(
                    f"document {id_!r} was put before the run was changed: it is cut and embedded in another way",
                    "`catena index RUN.yaml` makes an index with what was put; serve that.",
                )
            yield id_ if cells[0] is None else _read(id_, *cells)

    def document(self, id_: str) -> Document | None:
        """A document that was put, with a title for people; None where it was deleted or never put."""
        with self._busy:
            row = self._file.execute("SELECT made FROM documents WHERE id = ?", (id_,)).fetchone()
        if row is None or row[0] is None:
            return None
        made = json.loads(row[0])
        return Document(id=id_, title=made["title"], text=made["text"], metadata=made["metadata"])

    def close(self) -> None:
        """Close the file, and let another process own it."""
        self._file.close()
        self._release()

    def _row(self, change: Change, number: int) -> tuple[Any, ...]:
        if isinstance(change, str):
            return change, number, None, None, None, None, None
        made = {
            "title": change.title,
            "text": change.text,
            "metadata": change.metadata,
            "cuts": change.cuts,
            "passage_title": change.passage_title,
            "token_counts": None if change.tokens is None else [len(one) for one in change.tokens],
        }
        vectors = np.ascontiguousarray(change.vectors, "<f4").tobytes()
        tokens = None if change.tokens is None else np.concatenate(change.tokens).astype("<f4").tobytes()
        return change.id, number, self._form, _written(change.source), _written(made), vectors, tokens


def _written(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _read(id_: str, source: bytes, made: bytes, vectors: bytes, tokens: bytes | None) -> PreparedDocument:
    read = json.loads(made)
    counts = read.pop("token_counts")
    cuts = [(tuple(span), None if parent is None else tuple(parent)) for span, parent in read.pop("cuts")]
    each = None
    if tokens is not None:
        each = np.split(np.frombuffer(tokens, "<f4").reshape(sum(counts), -1), np.cumsum(counts)[:-1])
    matrix = np.frombuffer(vectors, "<f4").reshape(len(cuts), -1)
    return PreparedDocument(id_, json.loads(source), cuts=cuts, vectors=matrix, tokens=each, **read)


def last_write(folder: Path) -> int:
    """Number of the last write to the documents of a run; 0 where there was none."""
    if not (folder / FILE).is_file():
        return 0
    with closing(_reader(folder)) as file:
        return int(file.execute(_LAST).fetchone()[0])


def read_sources(folder: Path) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Number of the last write, id and document as it was put, of every id that was ever written, in their order.

    A deletion has no document. The owner may go on writing, and does not wait: what it writes after the first row was
    read is not read, nor what was under those ids before.
    """
    last, read = last_write(folder), 0
    while read < last:
        with closing(_reader(folder)) as file:
            rows = file.execute(_SOURCES, (read, last, _PAGE)).fetchall()
        for number, id_, source in rows:
            yield number, id_, None if source is None else json.loads(source)
        read = rows[-1][0] if rows else last


def _reader(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{(folder / FILE).resolve().as_uri()}?mode=ro", uri=True)


def _owned(folder: Path, wait_s: float) -> Any:  # noqa: ANN401 - an open file that holds the lock
    """The lock of the folder; None on a file system without locks.

    Raises:
        InputError: if another process keeps it for so long.
    """
    path, until = folder / ".lock", time.monotonic() + wait_s
    while True:
        try:
            taken = try_lock(path)
        except OSError as error:
            if not has_no_locks(error):
                raise
            return None
        if taken is not None:
            return taken
        if time.monotonic() > until:
            raise InputError(
                f"{holder(path)} serves this run and takes its documents ({folder})",
                "Stop it, or serve this one with `serve.live_documents: 0`, without the documents that were put.",
            )
        time.sleep(0.1)
