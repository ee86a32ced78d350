"""Rescoring: what smaller vectors find is ordered by the embedding's own.

The index stage keeps those as one array beside the index, memory-mapped: a question reads the rows of the passages it
found and nothing else. A passage's payload says which row is its own.
"""

import json
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
from retrieval.index import Hit, IndexedPassage, IndexMeta, IndexQuery, Key, VectorIndex, ranked

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
    full ones are kept. Other lists are the index's own.

    Args:
        index: holds the smaller vectors.
        vectors: the full ones, (passages, dim) of float32 or float16, unit length; may be memory-mapped.
        projection: what questions go through before the index is asked; None where vectors lost no dimensions.
        factor: how many times as many.
    """

    def __init__(self, index: VectorIndex, vectors: Floats, projection: Projection | None, factor: int) -> None:
        self._index, self._vectors, self._projection, self._factor = index, vectors, projection, factor

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
        return cls(index, np.load(artifact / FULL_VECTORS, mmap_mode="r"), projection, meta.config.rescore)

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

    def payloads(self, keys: Sequence[Key]) -> dict[Key, Mapping[str, Any]]:
        """What passages were stored with, by their keys; one that is not there is left out."""
        return self._index.payloads(keys)

    def query_batch(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Best hits of each query, best first, ties by passage id; ``dense`` of a query is a full vector."""
        found = self._index.query_batch([self._wider(query) for query in queries])
        best = [
            hits if query.dense is None else self._rescored(query.dense, hits, query.limit)
            for query, hits in zip(queries, found, strict=True)
        ]
        whole = [query.dense is not None and query.payload == "whole" for query in queries]  # they came in brief
        named = {hit.key for hits, wanted in zip(best, whole, strict=True) if wanted for hit in hits}
        payloads = self.payloads(list(named)) if named else {}
        return [
            [hit._replace(payload=payloads[hit.key]) for hit in hits] if wanted else hits
            for hits, wanted in zip(best, whole, strict=True)
        ]

    def _wider(self, query: IndexQuery) -> IndexQuery:
        """A query with a smaller vector, for as many hits as are to be rescored."""
        if query.dense is None:
            return query
        smaller = query.dense if self._projection is None else self._projection(query.dense[None])[0]
        return replace(query, dense=smaller, limit=self._factor * query.limit, payload="brief")

    def _rescored(self, question: Floats, found: list[Hit], wanted: int) -> list[Hit]:
        """The best by cosine of the full vectors."""
        if not found:
            return []
        by_row = {hit.payload["row"]: hit for hit in sorted(found, key=lambda hit: hit.passage_id)}
        cosines, rows = rescore(question[None], np.array([list(by_row)]), self._vectors, wanted)
        return ranked(
            by_row[row]._replace(score=cosine)
            for row, cosine in zip(rows[0].tolist(), cosines[0].tolist(), strict=True)
        )
