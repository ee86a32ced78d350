"""A document's links, known and discovered, looked up in sorted Arrow columns."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from data.labels import label
from data.partitions import partitions, read_table
from serving.schemas import DiscoveredLink, KnownLink, LinksResponse

_PROPOSED = ["source", "target", "source_title", "target_title", "relation", "probability", "reason"]


class SortedTable:
    """Rows found by the value of one column, by binary search: as small in memory as Arrow itself."""

    def __init__(self, table: pa.Table, column: str) -> None:
        self._table = table.sort_by(column).combine_chunks()
        keys = self._table[column]
        self._keys: pa.Array = keys.chunk(0) if keys.num_chunks else pa.array([], pa.string())

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Every row whose column holds the key."""

        def value(row: int) -> str:
            return str(self._keys[row].as_py())

        everything = range(len(self._keys))
        start, end = bisect_left(everything, key, key=value), bisect_right(everything, key, key=value)
        found: list[dict[str, Any]] = self._table.slice(start, end - start).to_pylist()
        return found


class Links(Protocol):
    """What knows a document's links, in this process or another."""

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """At most ``limit`` links of each kind; None where there is no such document."""


class LinkTables:
    """Links of every document.

    Args:
        documents: the documents table.
        links: the links table.
        discovered: the proposals of the discover stage; None where it has not run.
    """

    def __init__(self, documents: Path, links: Path, discovered: Path | None) -> None:
        known = read_table(links, ["source", "target", "relation", "weight"])
        self._titles = SortedTable(read_table(documents, ["id", "title"]), "id")
        self._known = {end: SortedTable(known, end) for end in ("source", "target")}
        self._proposed: dict[str, SortedTable] = {}
        if discovered is not None and partitions(discovered):
            proposed = read_table(discovered, _PROPOSED)
            self._proposed = {end: SortedTable(proposed, end) for end in ("source", "target")}

    async def links(self, id_: str, limit: int) -> LinksResponse | None:
        """As of ``Links``, looked up beside the event loop."""
        return await asyncio.to_thread(self._links, id_, limit)

    def _links(self, id_: str, limit: int) -> LinksResponse | None:
        title = self.title(id_)
        if title is None:
            return None
        return LinksResponse(
            id=id_, title=title, known=self.known(id_)[:limit], discovered=self.discovered(id_)[:limit]
        )

    def title(self, id_: str) -> str | None:
        """Title of a document, its id where it has no title, None where there is no such document."""
        rows = self._titles.rows(id_)
        return label(id_, rows[0]["title"]) if rows else None

    def known(self, id_: str) -> list[KnownLink]:
        """Links that the corpus came with, in both directions, strongest first."""
        return sorted(self._known_unsorted(id_), key=lambda link: (-link.weight, link.id))

    def _known_unsorted(self, id_: str) -> Iterator[KnownLink]:
        for row in self._known["source"].rows(id_):
            yield self._known_link(row, row["target"], "out")
        for row in self._known["target"].rows(id_):
            yield self._known_link(row, row["source"], "in")

    def _known_link(self, row: dict[str, Any], other: str, direction: Any) -> KnownLink:  # noqa: ANN401
        title = self.title(other) or other
        return KnownLink(id=other, title=title, relation=row["relation"], weight=row["weight"], direction=direction)

    def discovered(self, id_: str) -> list[DiscoveredLink]:
        """Links that the link model proposes, whichever end the document is, most probable first."""
        found = []
        for end, other in (("source", "target"), ("target", "source")):
            for row in self._proposed[end].rows(id_) if self._proposed else ():
                found.append(
                    DiscoveredLink(
                        id=row[other],
                        title=label(row[other], row[f"{other}_title"]),
                        relation=row["relation"],
                        probability=row["probability"],
                        reason=row["reason"],
                    )
                )
        return sorted(found, key=lambda link: (-link.probability, link.id))
