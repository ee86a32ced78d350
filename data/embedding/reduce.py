"""Vectors to smaller ones, partition by partition: fewer dimensions, fewer bytes, and what that loses.

The folder records the progress, as for ``embed``: a partition is complete or absent. The projection is fitted once
and kept beside them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data.embedding.config import ReduceConfig
from data.encoders.chain import copy_record
from data.errors import InputError
from data.partitions import left_to_do, partitions
from data.spread import Runner, on_ray
from data.vectors.exact_search import overlap, rescore, search
from data.vectors.projection import PROJECTION, Projection, fit_pca, random_projection, sampled, truncation
from data.vectors.quantise import Storage, bytes_per_vector, check_dim, encode
from data.vectors.read import matrix
from data.vectors.table import describe, vector_column, write_manifest, write_table

_JUDGED, _ASKED, _NEAREST = 10_000, 200, 10  # rows and questions that recall is measured on, and neighbours of each


def reduce(embedded: Path, config: ReduceConfig, out: Path, runner: Runner = on_ray) -> dict[str, Any]:
    """Reduce every vector of an embedding; partitions that are done are kept.

    Args:
        embedded: the embedding stage's folder: ``vectors/`` and ``manifest.json``.
        config: dimensions and storage.
        out: gets ``projection.safetensors`` where dimensions are lost, ``vectors/`` with the rows of the embedding, and
            ``manifest.json``, last. The fingerprint is the encoder's, or the projection's where there is one.
        runner: spreads the work.

    Returns:
        ``passages``, ``kept_passages``, ``method``, ``dim``, ``storage``, ``bytes_per_vector`` (before compression),
        ``fingerprint``, ``kept_length`` (PCA: share of the sample's squared length), and, measured on up to 10,000
        passages: ``recall_at_10`` of the ten nearest of the embedding, and ``recall_at_10_rescored`` where forty are
        found first and ordered by the vectors of the embedding.

    Raises:
        InputError: if there are more dimensions left than there were, the sample is too small, or the storage cannot
            hold them.
    """
    manifest = json.loads((embedded / "manifest.json").read_text())
    dim = config.dim or manifest["dim"]
    if dim > manifest["dim"]:
        raise InputError(
            f"reduce.dim: {dim} is more than the {manifest['dim']} dimensions of the encoder",
            f"Give at most {manifest['dim']}.",
        )
    check_dim(dim, config.storage)
    projection = _projection(embedded / "vectors", manifest, config, out / PROJECTION)
    vectors = out / "vectors"
    todo = left_to_do(embedded / "vectors", vectors)
    kept = sum(pq.read_metadata(path).num_rows for path in partitions(vectors))
    worker = ReducePartition(projection, config.storage, vectors)
    for _ in runner.run(todo, lambda: worker, ReducePartition.__name__):
        pass
    whole = [describe(path) for path in partitions(vectors)]
    copy_record(embedded, out)
    write_manifest(whole, out)
    return {
        "passages": sum(partition.rows for partition in whole),
        "kept_passages": kept,
        "method": config.method,
        "dim": dim,
        "storage": config.storage,
        "bytes_per_vector": bytes_per_vector(dim, config.storage),
        "fingerprint": whole[0].fingerprint,
        **({"kept_length": round(projection.kept, 4)} if projection is not None and config.method == "pca" else {}),
        **_recall(embedded / "vectors", projection, config),
    }


def _projection(vectors: Path, manifest: dict[str, Any], config: ReduceConfig, path: Path) -> Projection | None:
    """The projection of an interrupted run, or a new one, saved; None where the dimensions stay."""
    if config.dim is None:
        return None
    if not path.exists():
        encoder, from_dim = manifest["fingerprint"], manifest["dim"]
        if config.method == "pca":
            made = fit_pca(sampled(vectors, config.sample_rows, config.seed), encoder, config.dim, config.seed)
        elif config.method == "random":
            made = random_projection(encoder, from_dim, config.dim, config.seed)
        else:
            made = truncation(encoder, from_dim, config.dim)
        made.save(path)
    return Projection.load(path)


@dataclass(frozen=True)
class ReducePartition:
    """One worker: copies partitions with smaller vectors; every other column and the encoder's figures stay.

    Args:
        projection: to fewer dimensions; None where they stay.
        storage: of the smaller vectors.
        vectors: folder that partitions are written to.
    """

    projection: Projection | None
    storage: Storage
    vectors: Path

    def __call__(self, source: Path) -> None:
        """Write one partition under the name that it has in the embedding."""
        table = pq.read_table(source)
        full = matrix(table)
        field, column = vector_column(full if self.projection is None else self.projection(full), self.storage)
        made_by = dict(table.schema.metadata or {})
        if self.projection is not None:
            made_by[b"encoder"] = self.projection.fingerprint.encode()
        smaller = table.set_column(table.schema.get_field_index("vector"), field, column)
        write_table(smaller.replace_schema_metadata(made_by), self.vectors / source.name)


def _recall(vectors: Path, projection: Projection | None, config: ReduceConfig) -> dict[str, float]:
    """Share of the nearest passages that smaller vectors find too; empty where there are too few of them."""
    full = np.concatenate(list(sampled(vectors, _JUDGED, config.seed)) or [np.empty((0, 1), np.float32)])
    asked, searched = full[:_ASKED], full[_ASKED:]
    if len(searched) <= _NEAREST:
        return {}
    smaller = [part if projection is None else projection(part) for part in (asked, searched)]
    codes = encode(smaller[1], config.storage)
    exact = search(asked, searched, "float32", _NEAREST)[1]
    alone = search(smaller[0], codes, config.storage, _NEAREST)[1]
    found = search(smaller[0], codes, config.storage, 4 * _NEAREST)[1]
    rescored = rescore(asked, found, searched, _NEAREST)[1]
    return {"recall_at_10": overlap(alone, exact), "recall_at_10_rescored": overlap(rescored, exact)}
