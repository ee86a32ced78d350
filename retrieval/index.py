"""Searchable indexes: dense vectors, BM25 weights and payloads of passages in one collection.

``edge`` is the embedded engine (Qdrant Edge), ``server`` a Qdrant server; both keep the protocol ``VectorIndex``.
``build`` fills one from a run's passages and vectors; ``actor`` serves one from a process of its own. ``rescoring``
puts what smaller vectors find in order by the embedding's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

import numpy as np
import numpy.typing as npt
from pydantic import Field

from data.artifacts import StageConfig
from data.lexical import SparseVector
from data.metadata import Metadata
from retrieval.clauses import Clause
from retrieval.config import IndexConfig
from retrieval.filter_keys import FilterKey, Stored

# Two passages with each other's ranks would tie in the fusion and come in any order. A trifle more on the vectors'
# list settles it for the better BM25 rank: the weight divides the rank, so it moves high ranks less than low ones. Of
# the two ways it did better on SciFact's training queries (nDCG@10 0.719 against 0.711).
FUSION_WEIGHTS = {"dense": 1.001, "bm25": 1.0}

BRIEF = ("passage_id", "document_id", "row")  # of a payload, where no more is asked for

_POINTS = uuid5(NAMESPACE_OID, "catena.passage")


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
        fused: whether the score is the reciprocal rank fusion of the lists of ``dense`` and ``sparse``, rather than the
            score of the one of them that is given.
        prefetch: passages taken from each list before they are fused.
        tokens: the query's token vectors, float32 of shape (tokens, dim): the ``prefetch`` best passages of the fused
            list are rescored by MaxSim, in the same request. Where they are alone, the passages ``among`` are.
        filter: what must hold of a passage's document; everything passes where None.
        among: ids of the passages that are asked about; all where None.
        brief: whether hits bring what names them alone; to hand over texts takes longer than to find them.
    """

    limit: int
    dense: npt.NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    fused: bool = False
    prefetch: int = 100
    tokens: npt.NDArray[np.float32] | None = None
    filter: Clause | None = None
    among: tuple[str, ...] | None = None
    brief: bool = False

    def lists(self) -> list[tuple[Literal["dense", "bm25", "late"], Any]]:
        """The ranked lists that the query asks for: name of the vector, and the query's side of it."""
        lists: list[tuple[Literal["dense", "bm25", "late"], Any]] = []
        if self.dense is not None:
            lists.append(("dense", self.dense))
        if self.sparse is not None:
            lists.append(("bm25", self.sparse))
        if not lists and self.tokens is not None and self.among is not None:
            return [("late", self.tokens)]
        if not lists or (len(lists) > 1 and not self.fused):
            raise ValueError("a query names one vector, or asks for several to be fused")
        if self.tokens is not None and not self.fused:
            raise ValueError("token vectors rescore a fused list")
        return lists


@dataclass(frozen=True)
class Hit:
    """A passage that was found, with the payload it was stored with.

    ``place`` is where the engine had it, from 0: a fusion counts ranks by it, which are not those of ``hits`` where
    scores are equal.
    """

    passage_id: str
    score: float
    payload: Mapping[str, Any]
    place: int = field(default=0, compare=False)


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
        """Best hits of each query, best first, ties by passage id."""

    def close(self) -> None:
        """Release files and connections."""


class IndexMeta(StageConfig):
    """What an index artifact holds, so that it can be opened without the run that built it (``meta.json``)."""

    config: IndexConfig
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

    @property
    def question_dim(self) -> int:
        """Dimension of the vectors that questions are asked by: that of the full ones where hits are rescored."""
        return self.dim if self.full_dim is None else self.full_dim

    @property
    def question_encoder(self) -> str:
        """Fingerprint of the encoder that makes those."""
        return self.encoder if self.full_encoder is None else self.full_encoder


def point_id(passage_id: str) -> UUID:
    """Id of a passage's point: the same passage is always the same point."""
    return uuid5(_POINTS, passage_id)


def hits(points: Iterable[tuple[Mapping[str, Any], float]]) -> list[Hit]:
    """Payloads and scores as hits, best first; ties, which an engine leaves in any order, by passage id."""
    found = [Hit(payload["passage_id"], score, payload, place) for place, (payload, score) in enumerate(points)]
    return sorted(found, key=lambda hit: (-hit.score, hit.passage_id))
