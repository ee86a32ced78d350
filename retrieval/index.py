"""Searchable indexes: dense vectors, BM25 weights and payloads of passages in one collection.

``edge`` is the embedded engine (Qdrant Edge), ``server`` a Qdrant server; both keep the protocol ``VectorIndex``.
``build`` fills one from a run's passages and vectors; ``actor`` serves one from a process of its own. ``rescoring``
puts what smaller vectors find in order by the embedding's own.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data.artifacts import StageConfig
from data.lexical import SparseVector
from data.metadata import Metadata
from retrieval.clauses import Clause
from retrieval.config import IndexConfig, ListName
from retrieval.filter_keys import FilterKey, Stored
from retrieval.weights import Fusion

Payload = Literal["whole", "brief", "none"]
BRIEF = ("passage_id", "document_id", "row")  # of a payload, where no more is asked for

Key = int
"""Of a passage's point, as of ``point_id``."""


@dataclass(frozen=True)
class Parent:
    """The larger stretch that search answers with for a passage in it."""

    id: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class IndexedPassage:
    """What is stored of one passage."""

    id: str
    document_id: str
    title: str
    text: str
    start: int
    end: int
    metadata: Metadata
    vector: npt.NDArray[np.float32]
    sparse: SparseVector
    parent: Parent | None = None
    filters: Mapping[str, Sequence[Stored]] = field(default_factory=dict)  # the metadata by field, as filters ask it
    tokens: npt.NDArray[np.float32] | None = None  # of shape (tokens, dim), where the index keeps them
    row: int | None = None  # of its full vector, where these are kept beside the index

    def payload(self) -> dict[str, Any]:
        """Everything but the vectors, as the index stores it."""
        parent = {} if self.parent is None else {"parent": asdict(self.parent)}
        row = {} if self.row is None else {"row": self.row}
        return {
            **parent,
            **row,
            "passage_id": self.id,
            "document_id": self.document_id,
            "title": self.title,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "metadata": self.metadata,
            "filters": self.filters,
        }


@dataclass(frozen=True)
class IndexQuery:
    """One question to an index.

    Args:
        limit: passages wanted.
        dense: the query's vector, float32 of shape (dim,), where similarity of vectors counts.
        sparse: the query's terms, where BM25 counts; at least one, for an empty query finds nothing.
        fused: whether the lists of ``dense`` and ``sparse`` are fused, by a ``FusedIndex``; else one of them is given.
        prefetch: passages taken from each list before they are fused.
        tokens: the query's token vectors, float32 of shape (tokens, dim): the ``rescored`` best passages of the fused
            list are rescored by MaxSim. Where they are alone, the passages ``among`` are.
        rescored: how many those are; ``prefetch`` where None.
        fusion: how the lists become one; as the ``FusedIndex`` has it where None.
        filter: what must hold of a passage's document; everything passes where None.
        among: keys of the passages that are asked about; all where None.
        payload: what hits bring: everything, what names them alone, or nothing; to hand it over takes longer than to
            find them.
    """

    limit: int
    dense: npt.NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    fused: bool = False
    prefetch: int = 100
    tokens: npt.NDArray[np.float32] | None = None
    rescored: int | None = None
    fusion: Fusion | None = None
    filter: Clause | None = None
    among: tuple[Key, ...] | None = None
    payload: Payload = "whole"

    def one(self) -> tuple[ListName | Literal["late"], Any]:
        """What a query for a single list asks by: name of the vector, and the query's side of it."""
        sides: list[tuple[ListName | Literal["late"], Any]] = [("dense", self.dense), ("bm25", self.sparse)]
        sides = [(name, value) for name, value in [*sides, ("late", self.tokens)] if value is not None]
        if len(sides) != 1 or self.fused or (sides[0][0] == "late" and self.among is None):
            raise ValueError("a query names one vector; token vectors are asked about passages that are named")
        return sides[0]

    def lists(self) -> "dict[ListName, IndexQuery]":
        """The ranked lists of a fused query, each as a query of its own that is as deep as the fusion looks."""
        alone = replace(self, limit=self.prefetch, fused=False, tokens=None, fusion=None, payload="none")
        apart: dict[ListName, IndexQuery] = {}
        if self.dense is not None:
            apart["dense"] = replace(alone, sparse=None)
        if self.sparse is not None:
            apart["bm25"] = replace(alone, dense=None)
        return apart


class Hit(NamedTuple):
    """A passage that was found; there are hundreds for each question.

    Attributes:
        key: of its point, as of ``point_id``.
        score: in the list that was asked for.
        payload: as much as was asked for of what it was stored with.
    """

    key: Key
    score: float
    payload: Mapping[str, Any]

    @property
    def passage_id(self) -> str:
        """Its id, where it has a payload."""
        return str(self.payload["passage_id"])


class VectorIndex(Protocol):
    """A collection of passages; made by its class's ``create`` or ``open``."""

    def upsert(self, passages: Sequence[IndexedPassage]) -> None:
        """Store passages; a passage stored before is replaced."""

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every passage of some documents; one that is not there is no error."""

    def finish(self) -> None:
        """Make everything stored searchable at full speed and durable."""

    def count(self) -> int:
        """Number of passages stored, exactly."""

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query for a single list, best first, ties by passage id."""

    def payloads(self, keys: Sequence[Key]) -> dict[Key, Mapping[str, Any]]:
        """What passages were stored with, by their keys; one that is not there is left out."""

    def close(self) -> None:
        """Release files and connections."""


class Trust(StageConfig):
    """How far each list of hybrid search is trusted, and why (``retrieval.trust``)."""

    questions: int = Field(description="made of the corpus, that the lists were tried by")
    mrr: dict[ListName, float] = Field(description="of each list at finding the passage that a question was taken from")
    interval: dict[ListName, tuple[float, float]] = Field(description="that the MRR is in, with 95%")
    weights: dict[ListName, float] = Field(description="of each list in the fusion; they add up to 1")


class IndexMeta(StageConfig):
    """What an index artifact holds, so that it can be opened without the run that built it (``meta.json``)."""

    config: IndexConfig
    keys: Literal["number"] = Field("number", description="of passages (``point_id``); indexes had others before")
    location: str = Field(description="folder beside this file, or alias on the server")
    points: int = Field(description="passages stored")
    dim: int = Field(description="dimension of the vectors")
    encoder: str = Field(description="fingerprint of the encoder that made the vectors")
    precision: str = Field(description="what that encoder computed in")
    link: int = Field(0, description="its place in the run's chain; 0 is the run's own encoder, 1 its first fallback")
    mean_length: float = Field(description="mean number of terms of a passage")
    filter_keys: tuple[FilterKey, ...] = Field(description="metadata keys that can be filtered by, with their types")
    projection: Path | None = Field(
        None, description="what questions are reduced by, where vectors were; its name in the file, its place once read"
    )
    late_dim: int | None = Field(None, description="dimension of token vectors; None where there are none")
    token_projection: Path | None = Field(
        None, description="what a question's token vectors are reduced by; its name in the file, its place once read"
    )
    full_dim: int | None = Field(
        None, description="dimension of the vectors beside the index that put hits in order; None where there are none"
    )
    full_encoder: str | None = Field(None, description="fingerprint of the encoder that made those")
    trust: Trust | None = Field(None, description="what weighs the lists of hybrid search; both the same where None")

    @property
    def question_dim(self) -> int:
        """Dimension of the vectors that questions are asked by: that of the full ones where hits are rescored."""
        return self.dim if self.full_dim is None else self.full_dim

    @property
    def question_encoder(self) -> str:
        """Fingerprint of the encoder that makes those."""
        return self.encoder if self.full_encoder is None else self.full_encoder


def point_id(passage_id: str) -> Key:
    """Id of a passage's point: the same passage is always the same point.

    64 bits of its digest: of a hundred million passages two have the same with a chance of 3 in 10,000, of a million in
    36 million. A number, for an engine hands over hundreds for each question, and a UUID of each takes longer than to
    find them.
    """
    return int.from_bytes(hashlib.blake2b(passage_id.encode(), digest_size=8).digest(), "big")


def in_order(found: list[Hit]) -> list[Hit]:
    """Hits as they come, best first, but for ties, which an engine leaves in any order."""
    return found if all(one.score > next_.score for one, next_ in pairwise(found)) else ranked(found)


def ranked(found: Iterable[Hit]) -> list[Hit]:
    """Hits, best first, ties by passage id; by key where they bring no payload."""
    return sorted(found, key=lambda hit: (-hit.score, hit.payload.get("passage_id", ""), hit.key))
