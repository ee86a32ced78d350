"""The table of vectors: what stands in its partitions, and the manifest that completes it."""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from data.encoders import Encoded, Encoder
from data.errors import InputError
from data.schema import write_partition


class Partition(BaseModel):
    """What stands in a partition of vectors, and when it was made if it was made by this run."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    sha256: str
    fingerprint: str
    dim: int
    precision: str
    cosine_to_fp32: float
    tokens: int
    truncated: int  # texts that were longer than the encoder reads
    dropped_tokens: int  # cut off them
    documents: int  # runs of equal document ids
    first_document: str
    last_document: str


def write_vectors(
    ids: pa.ChunkedArray, document_ids: pa.ChunkedArray, encoded: Encoded, encoder: Encoder, path: Path
) -> None:
    """Write one partition; the file names the encoder that made it.

    Args:
        ids: of the passages.
        document_ids: of the documents they are from.
        encoded: their vectors, tokens and what was cut off.
        encoder: what made them.
        path: the partition, which appears whole or not at all.
    """
    values = pa.array(encoded.vectors.reshape(-1), pa.float32())
    table = pa.table(
        {
            "id": ids,
            "document_id": document_ids,
            "vector": pa.FixedSizeListArray.from_arrays(values, encoder.dim),
            "tokens": pa.array(encoded.tokens, pa.int32()),
            "dropped": pa.array(encoded.dropped if len(encoded.dropped) else np.zeros(len(ids), np.int32), pa.int32()),
        }
    )
    made_by = {
        "encoder": encoder.fingerprint,
        "precision": encoder.precision,
        "cosine_to_fp32": str(encoder.cosine_to_fp32),
    }
    write_partition(table.replace_schema_metadata(made_by), path)


def describe(path: Path) -> Partition:
    """What stands in a partition of vectors, read from its file."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        rows = file.read(columns=["document_id", "tokens", "dropped"])
    made_by = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    documents = rows["document_id"].to_pylist()
    dropped = rows["dropped"].to_numpy()
    changes = sum(before != after for before, after in itertools.pairwise(documents))
    with path.open("rb") as file_bytes:
        sha256 = hashlib.file_digest(file_bytes, "sha256").hexdigest()
    return Partition(
        name=path.name,
        rows=len(documents),
        sha256=sha256,
        fingerprint=made_by["encoder"],
        dim=schema.field("vector").type.list_size,
        precision=made_by["precision"],
        cosine_to_fp32=float(made_by["cosine_to_fp32"]),
        tokens=sum(rows["tokens"].to_pylist()),
        truncated=int((dropped > 0).sum()),
        dropped_tokens=int(dropped.sum()),
        documents=changes + 1 if documents else 0,
        first_document=documents[0] if documents else "",
        last_document=documents[-1] if documents else "",
    )


def write_manifest(whole: Sequence[Partition], out: Path) -> None:
    """Write ``manifest.json``: encoder, dimension, and name, rows and SHA-256 of each partition.

    Raises:
        InputError: if the partitions were made by more than one encoder.
    """
    encoders = {partition.fingerprint for partition in whole}
    if len(encoders) > 1:
        raise InputError(
            f"{out / 'vectors'} holds vectors of {len(encoders)} encoders: {', '.join(sorted(encoders))}",
            "The run was continued on another kind of machine, or the model's files were changed. "
            "Remove the folder and start again, with encoder.precision set.",
        )
    manifest = {
        "fingerprint": whole[0].fingerprint,
        "dim": whole[0].dim,
        "precision": whole[0].precision,
        "partitions": [partition.model_dump(include={"name", "rows", "sha256"}) for partition in whole],
    }
    unfinished = out / ".manifest.json.unfinished"
    unfinished.write_text(json.dumps(manifest, indent=2))
    unfinished.replace(out / "manifest.json")


def count_documents(whole: Sequence[Partition]) -> int:
    """Documents in partitions: one whose passages run on into the next partition is counted once."""
    ordered = sorted(whole, key=lambda partition: partition.name)
    shared = sum(
        bool(before.rows and after.rows) and before.last_document == after.first_document
        for before, after in itertools.pairwise(ordered)
    )
    return sum(partition.documents for partition in ordered) - shared
