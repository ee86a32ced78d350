"""Verses as JSON Lines and cross references as OpenBible.info publishes them.

OpenBible.info cross references (CC-BY, https://www.openbible.info/labs/cross-references/): a verse, the first verse it
refers to, the last one where that is a range, and the votes of readers.
"""

from functools import partial
from typing import Literal

from pydantic import Field

from data.artifacts import StageConfig
from data.sources.delimited import delimited, header
from data.sources.fields import (
    BadField,
    MissingField,
    id_of,
    metadata_of,
    need_columns,
    rows,
    shown,
    text_of,
    weight_of,
)
from data.sources.files import quoting
from data.sources.lines import Broken, Record
from data.sources.paths import find
from data.sources.records import json_lines
from data.sources.remote import SourceFile
from data.sources.rows import Document, Link, Reading, ReadTask, Reject, Skipped

COLUMNS = ["source", "target", "target_end", "votes"]


class BibleSource(StageConfig):
    """Verses and their cross references."""

    verses: str = Field("$CATENA_DATA/bible/verses.jsonl.gz", description="JSON Lines with id, book, text")
    crossrefs: str = Field("$CATENA_DATA/bible/crossrefs.tsv.gz", description="TSV: " + " ".join(COLUMNS))
    ranges: Literal["skip", "expand", "first"] = Field(
        "skip", description="references to several verses: leave them out, link each verse, or link the first"
    )
    min_votes: int = Field(1, description="references with fewer votes are left out; votes may be negative")

    def files(self) -> list[SourceFile]:
        """Both files."""
        return [*find(self.verses), *find(self.crossrefs)]

    def tasks(self) -> list[ReadTask]:
        """One for each file."""
        verses = find(self.verses)
        tasks = [
            ReadTask(str(file), "line", partial(rows, "documents", partial(json_lines, file), verse)) for file in verses
        ]
        for file in find(self.crossrefs):
            quoted, note = quoting(file, "tsv")
            need_columns(file, header(file, "tsv", quoted), COLUMNS)
            read = partial(cross_references, file, quoted, verses, self.ranges, self.min_votes)
            tasks.append(ReadTask(str(file), "line", read, note))
        return tasks


def verse(record: Record) -> Document:
    """A document of a verse, titled as people cite it."""
    title = f"{text_of(record, 'book')} {text_of(record, 'chapter')}:{text_of(record, 'verse')}"
    kept = metadata_of(record, ["book", "testament", "chapter", "verse"])
    return Document(id_of(record, "id"), title, id_of(record, "text"), kept)


def cross_references(
    file: SourceFile,
    quoted: bool,
    verses: list[SourceFile],
    ranges: Literal["skip", "expand", "first"],
    min_votes: int,
) -> Reading:
    """The references as links; a range becomes a link to each of its verses, in the order of the verses' file."""
    order = _order(verses) if ranges == "expand" else []
    number = {verse: n for n, verse in enumerate(order)}
    for line, record in delimited(file, "tsv", quoted=quoted):
        if isinstance(record, Broken):
            yield line, Reject("links", record.reason, record.content)
            continue
        try:
            source, target = id_of(record, "source"), id_of(record, "target")
            last, votes = record["target_end"], weight_of(record, "votes")
            if votes < min_votes:
                yield line, Skipped("references with too few votes")
            elif not last or ranges == "first":
                yield line, Link(source, target, "cross_reference", votes)
            elif ranges == "skip":
                yield line, Skipped("references to a range")
            else:
                for verse in _between(target, last, number, order):
                    yield line, Link(source, verse, "cross_reference", votes)
        except BadField as error:
            yield line, Reject("links", str(error), shown(record), isinstance(error, MissingField))


def _order(verses: list[SourceFile]) -> list[str]:
    found = (record for file in verses for _, record in json_lines(file))
    return [str(record["id"]) for record in found if not isinstance(record, Broken) and "id" in record]


def _between(first: str, last: str, number: dict[str, int], order: list[str]) -> list[str]:
    for end in (first, last):
        if end not in number:
            raise BadField(f"link to unknown document {end!r}")
    if number[last] < number[first]:
        raise BadField(f"a range that ends before it begins: {first}-{last}")
    return order[number[first] : number[last] + 1]
