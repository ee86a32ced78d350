"""Rescoring: what smaller vectors find is ordered by the embedding's own.

The index stage keeps those as one array beside the index, memory-mapped: a question reads the rows of the passages it
found and nothing else. A passage's payload says which row is its own.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data.errors import InputError
from data.files import whole_or_absent
from data.partitions import count_rows, partitions
from data.vectors.exact_search import rescore
from data.vectors.projection import Projection
from data.vectors.quantise import DTYPES, Floats
from data.vectors.read import codes
from data.vectors.table import storage_of
from retrieval.config import IndexConfig
from retrieval.index import FUSION_WEIGHTS, Hit, IndexedPassage, IndexMeta, IndexQuery, VectorIndex, hits

FULL_VECTORS = "full_vectors.npy"


def keep_full_vectors(embedded: Path, passages: Path, out: Path) -> dict[str, Any]:
    """Copy the vectors of an embedding beside an index, in the order of the passages, a partition at a time.

    Args:
        embedded: the embedding stage's folder, float32 or float16.
        passages: the passages table.
        out: gets ``full_vectors.npy``, of shape (passages, dim) in the embedding's storage.

    Returns:
        ``full_dim`` and ``full_encoder`` of the index's description.

    Raises:
        InputError: if vectors and passages do not belong together, or the disk is full.
    """
    manifest = json.loads((embedded / "manifest.json").read_text())
    made, cut = partitions(embedded / "vectors"), partitions(passages)
    dtype = DTYPES[storage_of(pq.read_schema(made[0]))[0]]
    header = {"descr": dtype.str, "fortran_order": False, "shape": (count_rows(passages), manifest["dim"])}
    with whole_or_absent(out / FULL_VECTORS) as unfinished, unfinished.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for path, of in zip_longest(made, cut):
            table = pq.read_table(path, columns=["id", "vector"]) if path and of else None
            if table is None or not table["id"].equals(pq.read_table(of, columns=["id"])["id"]):
                raise InputError(f"{embedded} is not made from {passages}", "Delete the embed artifact and run again.")
            file.write(np.ascontiguousarray(codes(table)).data)
    return {"full_dim": manifest["dim"], "full_encoder": manifest["fingerprint"]}


def with_rows(passages: Iterable[IndexedPassage]) -> Iterator[IndexedPassage]:
    """Passages with their row among the full vectors, which are in the same order."""
    for row, passage in enumerate(passages):
        yield replace(passage, row=row)


class RescoredIndex:
    """An index of smaller vectors that is asked by full ones.

    ``index.rescore`` times as many passages as are wanted are found by the smaller vectors, and the best of them by the
    full ones are kept. Where lists are fused, that is done to the list of vectors before; both lists come in one
    request. With token vectors nothing is: they rescore the fused list themselves.

    Args:
        index: holds the smaller vectors.
        vectors: the full ones, (passages, dim) of float32 or float16, unit length; may be memory-mapped.
        projection: what questions go through before the index is asked; None where vectors lost no dimensions.
        config: how many times as many, and the constant of the fusion.
    """

    def __init__(self, index: VectorIndex, vectors: Floats, projection: Projection | None, config: IndexConfig) -> None:
        self._index, self._vectors, self._projection, self._config = index, vectors, projection, config

    @classmethod
    def open(cls, index: VectorIndex, artifact: Path, meta: IndexMeta) -> "RescoredIndex":
        """Put the full vectors of an artifact before its index.

        Raises:
            InputError: if their file, or that of the projection, is gone.
        """
        if not (artifact / FULL_VECTORS).is_file():
            raise InputError(
                f"the index in {artifact} has lost its file {FULL_VECTORS}", f"Delete {artifact} and run again."
            )
        projection = None if meta.projection is None else Projection.load(meta.projection)
        return cls(index, np.load(artifact / FULL_VECTORS, mmap_mode="r"), projection, meta.config)

    def upsert(self, passages: Sequence[IndexedPassage]) -> None:
        """Store passages with smaller vectors and the rows of their full ones."""
        self._index.upsert(passages)

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every passage of some documents; their full vectors stay, and nothing names them."""
        self._index.delete(document_ids)

    def finish(self) -> None:
        """Make everything stored searchable at full speed and durable."""
        self._index.finish()

    def count(self) -> int:
        """Number of passages stored, exactly."""
        return self._index.count()

    def close(self) -> None:
        """Release files and connections."""
        self._index.close()

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id; ``dense`` of a query is a full vector."""
        asked = [self._requests(query) for query in queries]
        found = iter(self._index.query_batch([request for requests in asked for request in requests]))
        return [
            self._answer(query, [next(found) for _ in requests]) for query, requests in zip(queries, asked, strict=True)
        ]

    def _requests(self, query: IndexQuery) -> list[IndexQuery]:
        """What the index is asked: the query with a smaller vector, or its lists apart, that of vectors first."""
        if query.dense is None:
            return [query]
        smaller = query.dense if self._projection is None else self._projection(query.dense[None])[0]
        if query.tokens is not None:
            return [replace(query, dense=smaller)]
        deep = self._config.rescore * _wanted(query)
        by_vectors = replace(query, limit=deep, dense=smaller, sparse=None, fused=False)
        if query.sparse is None:
            return [by_vectors]
        return [by_vectors, replace(query, limit=query.prefetch, dense=None, fused=False)]

    def _answer(self, query: IndexQuery, found: list[list[Hit]]) -> list[Hit]:
        if query.dense is None or query.tokens is not None:
            return found[0]
        best = self._rescored(query.dense, found[0], _wanted(query))
        if not query.fused:
            return best
        return fused({"dense": best, "bm25": found[1] if len(found) > 1 else []}, self._config.rrf_k)[: query.limit]

    def _rescored(self, question: Floats, found: list[Hit], wanted: int) -> list[Hit]:
        """The best by cosine of the full vectors."""
        if not found:
            return []
        by_row = {hit.payload["row"]: hit for hit in sorted(found, key=lambda hit: hit.passage_id)}
        cosines, rows = rescore(question[None], np.array([list(by_row)]), self._vectors, wanted)
        return [
            replace(by_row[row], score=cosine, place=place)
            for place, (row, cosine) in enumerate(zip(rows[0].tolist(), cosines[0].tolist(), strict=True))
        ]


def _wanted(query: IndexQuery) -> int:
    """Passages wanted of the list of vectors."""
    return query.prefetch if query.fused else query.limit


def by_place(found: Sequence[Hit]) -> list[Hit]:
    """The hits of one list as the engine ranks them: equal scores, which ``hits`` orders otherwise, by their places."""
    return sorted(found, key=lambda hit: (-hit.score, hit.place))


def fused(lists: Mapping[str, Sequence[Hit]], k: int) -> list[Hit]:
    """Reciprocal rank fusion as the engines do it, best first, ties by passage id.

    Args:
        lists: hits by the name of their list, ``dense`` or ``bm25``; ranked as by ``by_place``.
        k: a list gives 1 / (k + rank / its weight).
    """
    payloads = {hit.passage_id: hit.payload for found in lists.values() for hit in found}
    scores: dict[str, float] = defaultdict(float)
    for name, found in lists.items():
        for rank, hit in enumerate(by_place(found), 1):
            scores[hit.passage_id] += 1 / (k + rank / FUSION_WEIGHTS[name])
    return hits((payloads[id_], score) for id_, score in scores.items())
