"""Typed triples: ``head relation tail`` by tabs, with the text of each entity in a second file."""

from collections.abc import Iterator, Mapping
from functools import partial

from pydantic import Field, model_validator

from data.artifacts import StageConfig
from data.schema import SPLITS
from data.sources.delimited import delimited
from data.sources.fields import id_of, rows, text_of
from data.sources.files import quoting
from data.sources.lines import Record
from data.sources.paths import find
from data.sources.remote import SourceFile
from data.sources.rows import Document, Link, ReadTask

TRIPLES = "files of head, relation, tail without a header"


class TriplesSource(StageConfig):
    """A knowledge graph in the format of link-prediction benchmarks, with its official split or without one."""

    triples: list[str] = Field([], description=f"{TRIPLES}, of no split")
    train: list[str] = Field([], description=f"{TRIPLES}, of the official training split: use with graph.split: given")
    valid: list[str] = Field([], description=f"{TRIPLES}, of the official validation split")
    test: list[str] = Field([], description=f"{TRIPLES}, of the official test split")
    texts: str = Field(description="file of entity and text without a header; an entity is a document")
    names: str | None = Field(None, description="file of entity and its name, the document's title")
    relations: str | None = Field(None, description="file of relation and its name in words")

    @model_validator(mode="after")
    def _one_way(self) -> "TriplesSource":
        given = [split for split in SPLITS if getattr(self, split)]
        if bool(self.triples) == bool(given):
            raise ValueError("give either triples, or train, valid and test" + (", not both" if given else ""))
        if given and len(given) < len(SPLITS):
            missing = " and ".join(split for split in SPLITS if split not in given)
            raise ValueError(f"an official split has train, valid and test: {missing} is missing")
        return self

    def files(self) -> list[SourceFile]:
        """Every file it reads."""
        paths = [self.texts, *(path for path, _ in self._triples()), *filter(None, [self.names, self.relations])]
        return [file for path in paths for file in find(path)]

    def _triples(self) -> Iterator[tuple[str, str | None]]:
        """Paths of triples, each with its split."""
        yield from ((path, None) for path in self.triples)
        yield from ((path, split) for split in SPLITS for path in getattr(self, split))

    def tasks(self) -> list[ReadTask]:
        """One a file."""
        tasks: list[ReadTask] = []
        titles = names_of(find(self.names)) if self.names else {}
        for file in find(self.texts):
            quoted, note = quoting(file, "tsv")
            found = partial(delimited, file, "tsv", ["entity", "text"], quoted)
            build = partial(entity, titles=titles)
            tasks.append(ReadTask(str(file), "line", partial(rows, "documents", found, build), note))
        names = names_of(find(self.relations)) if self.relations else {}
        for path, split in self._triples():
            for file in find(path):
                quoted, note = quoting(file, "tsv")
                found = partial(delimited, file, "tsv", ["head", "relation", "tail"], quoted)
                make = partial(triple, names=names, split=split)
                tasks.append(ReadTask(str(file), "line", partial(rows, "links", found, make), note))
        return tasks


def names_of(files: list[SourceFile]) -> dict[str, str]:
    """Names of relations or entities in words, kept in memory."""
    found = (record for file in files for _, record in delimited(file, "tsv", ["named", "name"]))
    return {record["named"]: record["name"] for record in found if isinstance(record, dict)}


def entity(record: Record, titles: Mapping[str, str]) -> Document:
    """A document of an entity. Where it has no name, its text up to the first comma is the title, if that is short."""
    text = id_of(record, "text")
    id_ = id_of(record, "entity")
    if id_ in titles:
        return Document(id_, titles[id_], text)
    title, comma, definition = text.partition(", ")
    return Document(id_, title, definition) if comma and len(title) <= 80 else Document(id_, text[:80], text)


def triple(record: Record, names: dict[str, str], split: str | None = None) -> Link:
    """A link of a triple."""
    relation = text_of(record, "relation")
    head, tail = id_of(record, "head"), id_of(record, "tail")
    return Link(head, tail, names.get(relation, relation), split=split)
