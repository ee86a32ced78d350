"""What a reader yields: good rows of the tables, rows it rejects, rows it leaves out, each with its position."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class Document(NamedTuple):
    """A text with an identity."""

    id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = {}  # values as of data/metadata.py
    time: datetime | None = None


class Link(NamedTuple):
    """A known, typed, directed link; ``split`` (train, valid, test) where the corpus has an official one."""

    source: str
    target: str
    relation: str
    weight: float = 1.0
    time: datetime | None = None
    split: str | None = None


class Query(NamedTuple):
    """A question."""

    id: str
    text: str


class Qrel(NamedTuple):
    """How well a document answers a question."""

    query_id: str
    document_id: str
    score: int


class Tool(NamedTuple):
    """Something that can be called; ``schema`` is the JSON Schema of its input, as JSON."""

    id: str
    name: str
    description: str
    schema: str | None = None


class Capability(NamedTuple):
    """Tools that solve something together; ``parent`` is the group of capabilities that it is one of."""

    id: str
    description: str
    tools: Sequence[str]
    parent: str | None = None
    metadata: str | None = None  # as of data.metadata.write_metadata


class Trace(NamedTuple):
    """What was asked, what was shown, what was run, and what became of it; columns as of ``data.schema.TRACES``."""

    id: str
    time: datetime | None
    session: str | None
    intent: str
    context: Sequence[str]
    shown: Sequence[str]
    scores: Sequence[float] | None
    propensities: Sequence[float] | None
    chosen: str
    steps: Sequence[Mapping[str, str]]
    outcome: str | None
    seconds: float | None
    rating: float | None
    model_version: str | None
    passed_over: bool = False


class Reject(NamedTuple):
    """A row that cannot be used: it goes to the ``rejects`` table with its place.

    ``misfit``: the record lacks a needed column; where every record does, the mapping is wrong.
    """

    table: str
    reason: str
    content: str
    misfit: bool = False


class Skipped(NamedTuple):
    """A good row that the run's own settings leave out: only counted, under ``kind``."""

    kind: str


CorpusRow = Document | Link | Query | Qrel
Row = CorpusRow | Tool | Capability | Trace
Reading = Iterator[tuple[int, Row | Reject | Skipped]]  # 1-based position in the source, and what was read there

CORPUS: Mapping[type, str] = {Document: "documents", Link: "links", Query: "queries", Qrel: "qrels"}
CATALOGUE: Mapping[type, str] = {Tool: "tools", Capability: "capabilities", Trace: "traces"}
TABLE_OF: Mapping[type, str] = {**CORPUS, **CATALOGUE}


@dataclass(frozen=True)
class ReadTask:
    """One independent piece of a corpus, read by one worker: a file, or a split of one.

    Args:
        source: what its rows' places are given in: the path of a file, the name of a package or function.
        unit: what a position counts, ``"line"`` or ``"row"``.
        read: opens the source and yields it; picklable, reads nothing before it is called. It may raise InputError
            where nothing of the source can be read (a missing column), never for a single row.
        note: what the user should know of how the source is read; empty where there is nothing.
    """

    source: str
    unit: str
    read: Callable[[], Reading]
    note: str = ""
