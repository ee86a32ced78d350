"""Documents and their links, one at a time, from a file: a replica needs no memory for them, however many there are.

The file is SQLite, made once and then read only; any number of processes map the same pages.
"""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from data.files import whole_or_absent
from data.labels import label
from data.partitions import partitions, read_batches
from retrieval.config import LinkKind
from serving.schemas import DiscoveredLink, Document, KnownLink, LinksResponse

FILE = "lookup.sqlite"

_TABLES = {
    "documents": ("id", "title", "text", "metadata"),
    "links": ("source", "target", "relation", "weight"),
    "proposed": ("source", "target", "relation", "probability", "reason"),
}
_INDEXES = {"documents": ("id",), "links": ("source", "target"), "proposed": ("source", "target")}

_KNOWN = """
SELECT other, title, relation, weight, direction FROM (
    SELECT target AS other, relation, weight, 'out' AS direction FROM links WHERE source = :id
    UNION ALL SELECT source, relation, weight, 'in' FROM links WHERE target = :id
) LEFT JOIN documents ON documents.id = other ORDER BY weight DESC, other LIMIT :limit
"""
_PROPOSED = """
SELECT other, title, relation, probability, reason FROM (
    SELECT target AS other, relation, probability, reason FROM proposed WHERE source = :id
    UNION ALL SELECT source, relation, probability, reason FROM proposed WHERE target = :id
) LEFT JOIN documents ON documents.id = other ORDER BY probability DESC, other LIMIT :limit
"""


def _weights(table: str, weight: str) -> str:
    """Other ends and weights of a document's links in a table; of a hub's, some."""
    return f"""(
        SELECT target AS other, {weight} AS weight FROM {table} WHERE source = :id AND target != :id AND {weight} > 0
        UNION ALL SELECT source, {weight} FROM {table} WHERE target = :id AND source != :id AND {weight} > 0 LIMIT 1000
    )"""


_WEIGHTS: Mapping[LinkKind, str] = {
    "known": _weights("links", "weight"),
    "discovered": _weights("proposed", "probability"),
}


class Lookup(Protocol):
    """What knows documents and their links, in this process or another."""

    async def document(self, id_: str) -> Document | None:
        """A document; None where there is no such one."""

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """At most ``limit`` links of each kind of a document; None where there is no such one."""


def write_lookup(out: Path, documents: Path, links: Path, discovered: Path | None) -> dict[str, int]:
    """Write the file from a run's tables.

    Args:
        out: folder that it is written in.
        documents: the documents table.
        links: the links table.
        discovered: the proposals of the discover stage; None where it has not run.

    Returns:
        Rows of each table.
    """
    tables = {"documents": documents, "links": links, "proposed": discovered}
    counts = dict.fromkeys(tables, 0)
    with whole_or_absent(out / FILE) as unfinished:
        connection = sqlite3.connect(unfinished)
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        for name, folder in tables.items():
            columns = _TABLES[name]
            connection.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            places = ", ".join("?" * len(columns))
            if folder is not None and partitions(folder):
                rows = _rows(folder, columns)
                counts[name] = connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows).rowcount
            for column in _INDEXES[name]:
                connection.execute(f"CREATE INDEX {name}_{column} ON {name} ({column})")
        connection.execute("ANALYZE")
        connection.commit()
        connection.close()
    return {name: max(count, 0) for name, count in counts.items()}


def _rows(folder: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for batch in read_batches(folder, list(columns)):
        yield from zip(*(batch[column].to_pylist() for column in columns), strict=True)


class LookupFile:
    """Reads what ``write_lookup`` wrote, beside the event loop.

    Args:
        folder: that the file is in.
    """

    def __init__(self, folder: Path) -> None:
        self._uri = f"{(folder / FILE).resolve().as_uri()}?mode=ro&immutable=1"
        self._open = threading.local()  # a connection a thread: SQLite serialises those that share one
        self._one("SELECT 1 FROM documents", {})

    async def document(self, id_: str) -> Document | None:
        """As of ``Lookup``."""
        return await asyncio.to_thread(self._document, id_)

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """As of ``Lookup``."""
        return await asyncio.to_thread(self._links, id_, limit)

    def texts(self, ids: Collection[str]) -> dict[str, str]:
        """Texts of documents by id, titles where they have no text; blocks while it reads."""
        rows = {id_: self._one("SELECT title, text FROM documents WHERE id = :id", {"id": id_}) for id_ in ids}
        return {id_: row[1] or row[0] for id_, row in rows.items() if row is not None}

    def links_of(self, ids: Collection[str], kind: LinkKind) -> dict[str, list[tuple[str, float]]]:
        """As of ``retrieval.expansion.Links``; of a document with more than a thousand links, a thousand."""
        linked = f"SELECT other, SUM(weight) FROM {_WEIGHTS[kind]} GROUP BY other ORDER BY other"
        return {id_: self._connection.execute(linked, {"id": id_}).fetchall() for id_ in ids}

    def strengths(self, ids: Collection[str], kind: LinkKind) -> dict[str, float]:
        """As of ``retrieval.expansion.Links``, of the same links."""
        whole = f"SELECT TOTAL(weight) FROM {_WEIGHTS[kind]}"
        return {id_: self._connection.execute(whole, {"id": id_}).fetchone()[0] for id_ in ids}

    def has(self, id_: str) -> bool:
        """Whether there is such a document, asked in this thread."""
        return self._one("SELECT 1 FROM documents WHERE id = :id", {"id": id_}) is not None

    def _document(self, id_: str) -> Document | None:
        row = self._one("SELECT title, text, metadata FROM documents WHERE id = :id", {"id": id_})
        if row is None:
            return None
        title, text, metadata = row
        return Document(id=id_, title=label(id_, title), text=text, metadata=json.loads(metadata) if metadata else {})

    def _links(self, id_: str, limit: int) -> LinksResponse | None:
        row = self._one("SELECT title FROM documents WHERE id = :id", {"id": id_})
        if row is None:
            return None
        asked = {"id": id_, "limit": limit}
        known = [
            KnownLink(id=other, title=label(other, title or ""), relation=relation, weight=weight, direction=direction)
            for other, title, relation, weight, direction in self._connection.execute(_KNOWN, asked)
        ]
        discovered = [
            DiscoveredLink(
                id=other, title=label(other, title or ""), relation=relation, probability=probability, reason=reason
            )
            for other, title, relation, probability, reason in self._connection.execute(_PROPOSED, asked)
        ]
        return LinksResponse(id=id_, title=label(id_, row[0]), known=known, discovered=discovered)

    def _one(self, statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        return found

    @property
    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._open, "connection"):
            self._open.connection = sqlite3.connect(self._uri, uri=True)
        connection: sqlite3.Connection = self._open.connection
        return connection
