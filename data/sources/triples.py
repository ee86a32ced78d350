"""Typed triples: ``head relation tail`` by tabs, with the text of each entity in a second file."""

from functools import partial

from pydantic import Field

from data.artifacts import StageConfig
from data.sources.delimited import delimited
from data.sources.fields import id_of, rows, text_of
from data.sources.files import quoting
from data.sources.lines import Record
from data.sources.paths import find
from data.sources.remote import SourceFile
from data.sources.rows import Document, Link, ReadTask


class TriplesSource(StageConfig):
    """A knowledge graph in the format of link-prediction benchmarks."""

    triples: list[str] = Field(min_length=1, description="files of head, relation, tail without a header")
    texts: str = Field(description="file of entity and text without a header; an entity is a document")
    relations: str | None = Field(None, description="file of relation and its name in words")

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        return [file for path in [self.texts, *self.triples, *filter(None, [self.relations])] for file in find(path)]

    def tasks(self) -> list[ReadTask]:
        """One a file."""
        tasks: list[ReadTask] = []
        for file in find(self.texts):
            quoted, note = quoting(file, "tsv")
            found = partial(delimited, file, "tsv", ["entity", "text"], quoted)
            tasks.append(ReadTask(str(file), "line", partial(rows, "documents", found, entity), note))
        names = relation_names(find(self.relations)) if self.relations else {}
        for path in self.triples:
            for file in find(path):
                quoted, note = quoting(file, "tsv")
                found = partial(delimited, file, "tsv", ["head", "relation", "tail"], quoted)
                build = partial(triple, names=names)
                tasks.append(ReadTask(str(file), "line", partial(rows, "links", found, build), note))
        return tasks


def relation_names(files: list[SourceFile]) -> dict[str, str]:
    """Names of relations in words; there are few of them."""
    found = (record for file in files for _, record in delimited(file, "tsv", ["relation", "name"]))
    return {record["relation"]: record["name"] for record in found if isinstance(record, dict)}


def entity(record: Record) -> Document:
    """A document of an entity. Its text up to the first comma is the title, where a definition follows it."""
    text = id_of(record, "text")
    title, comma, definition = text.partition(", ")
    id_ = id_of(record, "entity")
    return Document(id_, title, definition) if comma and len(title) <= 80 else Document(id_, text[:80], text)


def triple(record: Record, names: dict[str, str]) -> Link:
    """A link of a triple."""
    relation = text_of(record, "relation")
    return Link(id_of(record, "head"), id_of(record, "tail"), names.get(relation, relation))
