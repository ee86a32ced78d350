"""Documents that were put and deleted while a service runs, on disk before anybody is told so.

One SQLite file a run: a row an id, with the number of the write that was the last to change it, and beside it what the
indexes hold of the document, a row for each form that it was prepared in. It is the write-ahead log of the live parts,
which are filled from it when they are opened, and what ``catena index`` reads. Numbers only grow.
"""

import json
import logging
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.locks import has_no_locks, holder, try_lock
from serving.live_rows import Change, PreparedDocument, PutDocument, Stored, id_of, prepared_row, read_prepared, row_of
from serving.schemas import Document

logger = logging.getLogger("catena")

FILE = "documents.sqlite"

_TABLES = """
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, write INTEGER NOT NULL, source BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS documents_write ON documents (write);
CREATE TABLE IF NOT EXISTS prepared (
    id TEXT NOT NULL, form TEXT NOT NULL, made BLOB, vectors BLOB, tokens BLOB, PRIMARY KEY (id, form)
);
"""
_LAST = "SELECT coalesce(max(write), 0) FROM documents"
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)"
_FORGET = "DELETE FROM prepared WHERE id = ?"
_PREPARED = "INSERT OR REPLACE INTO prepared VALUES (?, ?, ?, ?, ?)"
_STILL = "SELECT 1 FROM documents WHERE id = ? AND write = ?"
_SINCE = """
SELECT write, documents.id, source, made, vectors, tokens FROM documents
LEFT JOIN prepared ON prepared.id = documents.id AND form = ? WHERE write > ? ORDER BY write LIMIT ?
"""
_MADE = """
SELECT source, made FROM documents
LEFT JOIN prepared ON prepared.id = documents.id AND form = ? WHERE documents.id = ?
"""
_SOURCES = "SELECT write, id, source FROM documents WHERE write > ? AND write <= ? ORDER BY write LIMIT ?"
_PAGE = 1000  # rows that are read at once, while the owner waits


class NotWritten(InputError):
    """The disk refuses a write; none of it was done."""


class NotOwner(NotWritten):
    """Another process takes the documents of the run, as the one does that this one replaces."""


class LiveStore:
    """The file of a run, which one process at a time writes: its owner. Others read it.

    Args:
        folder: of the file; made where it is absent.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._busy = folder, threading.Lock()
        self._file: sqlite3.Connection | None = None
        self._locks: list[Any] = []
        self._release = weakref.finalize(self, _close_all, self._locks)
        self.owned = False
        self.last = 0
        self.own()

    def own(self) -> bool:
        """Become the owner where nobody else is; whether this is it."""
        with self._busy:
            if not self.owned and self._taken():
                try:
                    self._open_to_write()
                except sqlite3.Error:
                    _close_all(self._locks)  # for the next try, or another process
                    raise
        return self.owned

    def look(self) -> int:
        """Number of the last write, read again where others write."""
        if not self.owned:
            self.last = max(self.last, *(int(number) for (number,) in self._rows(_LAST, ())), 0)
        return self.last

    def write(self, changes: Sequence[Change]) -> int:
        """Do all changes, in their order, or none; they are on disk when this returns.

        Returns:
            The number of the last of them.

        Raises:
            NotWritten: if the disk refuses.
            NotOwner: if another process owns the file.
        """
        if not self.owned:
            raise self.not_owner()
        numbered = list(enumerate(changes, self.last + 1))
        latest = {id_of(change): change for change in changes}.values()
        made = [(form, one) for put in latest if isinstance(put, PutDocument) for form, one in put.made.items()]
        with self._transaction() as file:
            file.executemany(_PUT, [row_of(change, number) for number, change in numbered])
            file.executemany(_FORGET, [(id_of(change),) for change in changes])
            file.executemany(_PREPARED, [prepared_row(form, one) for form, one in made])
        self.last += len(changes)
        return self.last

    def not_owner(self) -> NotOwner:
        """Why nothing can be written."""
        problem = f"{holder(self._folder / '.lock')} serves this run too, and takes its documents until it ends"
        return NotOwner(problem, "Send it again; a replica that is replaced ends within seconds.")

    def keep(self, form: str, prepared: Sequence[tuple[int, PreparedDocument]]) -> None:
        """Keep documents that were prepared later, each with the number of its write.

        Raises:
            NotWritten: as of ``write``; what was prepared can be made again.
        """
        with self._transaction() as file:
            still = [one for number, one in prepared if file.execute(_STILL, (one.id, number)).fetchone()]
            file.executemany(_PREPARED, [prepared_row(form, one) for one in still])  # what was put since is another

    def since(self, number: int, form: str) -> Iterator[list[Stored]]:
        """What was changed after a write, each id once, in pages; with the documents in a form."""
        while page := self._rows(_SINCE, (form, number, _PAGE)):
            yield [
                Stored(
                    write,
                    id_,
                    None if source is None else json.loads(source),
                    None if source is None or cells[0] is None else read_prepared(id_, source, *cells),
                )
                for write, id_, source, *cells in page
            ]
            number = page[-1][0]

    def document(self, id_: str, form: str) -> Document | None:
        """A document that was put, as it was prepared; None where it was deleted or never put."""
        rows = self._rows(_MADE, (form, id_))
        if not rows or rows[0][0] is None:
            return None
        shown = json.loads(rows[0][1] or rows[0][0])
        return Document(id=id_, title=shown["title"], text=shown["text"], metadata=shown["metadata"])

    def close(self) -> None:
        """Close the file, and let another process own it."""
        with self._busy:
            if self._file is not None:
                self._file.close()
            self.owned = False
            self._release()

    def _open_to_write(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = sqlite3.connect(self._folder / FILE, check_same_thread=False, isolation_level=None)
        # A rollback journal, as SQLite's other log (WAL) binds readers to this machine. FULL: on disk, then told.
        self._file.executescript(f"PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; {_TABLES}")
        self.last = int(self._file.execute(_LAST).fetchone()[0])
        self.owned = True

    def _taken(self) -> bool:
        """Whether the lock of the folder is ours now."""
        try:
            lock = try_lock(self._folder / ".lock")
        except OSError as error:
            if not has_no_locks(error):
                raise
            logger.warning("%s is on a file system without locks; start no second service on it", self._folder)
            return True
        self._locks += [] if lock is None else [lock]
        return lock is not None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All that a block does to the file, or nothing."""
        assert self._file is not None, "the owner has it open"
        try:
            with self._busy, self._file:
                self._file.execute("BEGIN IMMEDIATE")
                yield self._file
        except sqlite3.OperationalError as error:
            raise NotWritten(
                f"documents cannot be written now: {error}", "Free some space, and send it again."
            ) from error

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        """What a query finds; nothing where no owner has made the file yet."""
        with self._busy:
            if self._file is None:
                if not (self._folder / FILE).is_file():
                    return []
                self._file = _reader(self._folder)
            if not self.owned and not self._file.execute("SELECT 1 FROM sqlite_master").fetchone():
                return []  # its owner is just making it
            return self._file.execute(query, values).fetchall()


def _close_all(files: list[Any]) -> None:
    for file in files:
        file.close()
    files.clear()


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
    """The file, for reading; with the right to write, by which what a killed owner left half done is rolled back."""
    uri = f"{(folder / FILE).resolve().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
