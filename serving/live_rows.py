"""Documents that were put while a service runs: what an index holds of each, and the row that keeps it on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.metadata import Metadata
from data.passages import Cut

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PreparedDocument:
    """A document as it was put, and what an index holds of it.

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


@dataclass(frozen=True)
class PutDocument:
    """A document to be put.

    Args:
        id: of the document.
        source: as of ``PreparedDocument``.
        made: the document by the names of the forms that it is prepared in.
    """

    id: str
    source: dict[str, Any]
    made: Mapping[str, PreparedDocument]


Change = PutDocument | str
"""A document to be put, or the id of one to be deleted."""


@dataclass(frozen=True)
class Stored:
    """What the file has under an id.

    Args:
        number: of the write that was the last to change it.
        id: of the document.
        source: as it was put; None where it was deleted.
        prepared: in the form that was asked for; None where it was deleted, or never prepared so.
    """

    number: int
    id: str
    source: dict[str, Any] | None
    prepared: PreparedDocument | None


def id_of(change: Change) -> str:
    """Of the document that is put or deleted."""
    return change if isinstance(change, str) else change.id


def row_of(change: Change, number: int) -> tuple[Any, ...]:
    """Of table ``documents``; ``number`` is that of the write."""
    return id_of(change), number, None if isinstance(change, str) else _written(change.source)


def prepared_row(form: str, one: PreparedDocument) -> tuple[Any, ...]:
    """Of table ``prepared``, under the name of a form."""
    made = {
        "title": one.title,
        "text": one.text,
        "metadata": one.metadata,
        "cuts": one.cuts,
        "passage_title": one.passage_title,
        "token_counts": None if one.tokens is None else [len(tokens) for tokens in one.tokens],
    }
    vectors = np.ascontiguousarray(one.vectors, "<f4").tobytes()
    tokens = None if one.tokens is None else np.concatenate(one.tokens).astype("<f4").tobytes()
    return one.id, form, _written(made), vectors, tokens


def _written(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read_prepared(id_: str, source: bytes, made: bytes, vectors: bytes, tokens: bytes | None) -> PreparedDocument:
    """What ``row_of`` and ``prepared_row`` wrote of a document."""
    read = json.loads(made)
    counts = read.pop("token_counts")
    cuts = [(tuple(span), None if parent is None else tuple(parent)) for span, parent in read.pop("cuts")]
    each = None
    if tokens is not None:
        each = np.split(np.frombuffer(tokens, "<f4").reshape(sum(counts), -1), np.cumsum(counts)[:-1])
    matrix = np.frombuffer(vectors, "<f4").reshape(len(cuts), -1)
    return PreparedDocument(id_, json.loads(source), cuts=cuts, vectors=matrix, tokens=each, **read)
