"""The table of vectors: the contents of its partitions, and the manifest that completes it.

A vector is a list of float32 or float16, which any reader of Parquet understands, or its codes, bytes of one
width: Parquet has no small integers, and would keep each in four bytes. ``read`` reads it.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from data.cache.keys import Hashes, to_arrow
from data.encoders.protocol import Encoded, Encoder
from data.errors import InputError
from data.files import whole_or_absent
from data.partitions import write_partition
from data.vectors.quantise import STORAGES, Floats, Storage, encode, width

ROW_GROUP = 512  # vectors that are read to get one; with 384 float32 dimensions 0.8 MB
# Bytes of floats sorted by their place in the float compress by 15% instead of 8% and are read half as fast again.
_LAYOUT: dict[str, Any] = {
    "row_group_size": ROW_GROUP,
    "use_dictionary": ["document_id"],
    "use_byte_stream_split": ["vector.list.element"],
}


class Partition(BaseModel):
    """Contents of a partition of vectors: its encoder, its rows, and a checksum."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    sha256: str
    fingerprint: str
    dim: int
    storage: Storage
    precision: str
    cosine_to_fp32: float
    tokens: int
    truncated: int  # texts that were longer than the encoder reads
    dropped_tokens: int  # cut off them
    documents: int  # runs of equal document ids
    first_document: str
    last_document: str


def write_vectors(
    ids: pa.ChunkedArray,
    document_ids: pa.ChunkedArray,
    hashes: Hashes,
    encoded: Encoded,
    encoder: Encoder,
    path: Path,
    storage: Storage = "float32",
) -> None:
    """Write one partition; the file names the encoder that made it.

    Args:
        ids: of the passages.
        document_ids: of the documents they are from.
        encoded: their vectors, tokens and what was cut off.
        hashes: of the texts that were embedded, uint8 of shape (n, 16): by them a later job finds vectors it can copy.
        encoded: their vectors and tokens.
        encoder: what made them.
        path: of the partition.
        storage: form of the vectors.

    Raises:
        InputError: if the storage cannot hold vectors of this dimension.
    """
    dropped = encoded.dropped if len(encoded.dropped) else np.zeros(len(ids), np.int32)
    columns = {
        "id": ids,
        "document_id": document_ids,
        "tokens": pa.array(encoded.tokens, pa.int32()),
        "dropped": pa.array(dropped, pa.int32()),
        "text_hash": to_arrow(hashes),
    }
    table = pa.table(columns)
    field, column = vector_column(encoded.vectors, storage)
    made_by = {
        "encoder": encoder.fingerprint,
        "precision": encoder.precision,
        "cosine_to_fp32": str(encoder.cosine_to_fp32),
    }
    write_table(table.add_column(2, field, column).replace_schema_metadata(made_by), path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write rows with an ``id`` and a ``vector``, in row groups small enough that a few vectors cost no partition."""
    write_partition(table, path, **_LAYOUT)


def vector_column(vectors: Floats, storage: Storage) -> tuple[pa.Field, pa.Array]:
    """A column of vectors, float32 (n, dim), in a storage; the field names storage and dimension."""
    dim = vectors.shape[1]
    codes = np.ascontiguousarray(encode(vectors, storage))
    if storage in ("float32", "float16"):
        column = pa.FixedSizeListArray.from_arrays(pa.array(codes.reshape(-1)), dim)
    else:
        kind = pa.binary(width(dim, storage))
        column = pa.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, pa.py_buffer(codes)])
    return pa.field("vector", column.type, metadata={"storage": storage, "dim": str(dim)}), column


def storage_of(schema: pa.Schema) -> tuple[Storage, int]:
    """Storage and dimension of a table's vectors; lists of floats need not name them."""
    field = schema.field("vector")
    if not pa.types.is_fixed_size_binary(field.type):
        return ("float16" if field.type.value_type == pa.float16() else "float32"), field.type.list_size
    named = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    (storage,) = (known for known in STORAGES if known == named["storage"])
    return storage, int(named["dim"])


def describe(path: Path) -> Partition:
    """Read the contents of a partition of vectors from its file."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        rows = file.read(columns=["document_id", "tokens", "dropped"])
    made_by = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    storage, dim = storage_of(schema)
    documents = rows["document_id"].combine_chunks()
    changes = pc.sum(pc.not_equal(documents[1:], documents[:-1])).as_py() or 0
    with path.open("rb") as file_bytes:
        sha256 = hashlib.file_digest(file_bytes, "sha256").hexdigest()
    return Partition(
        name=path.name,
        rows=len(documents),
        sha256=sha256,
        fingerprint=made_by["encoder"],
        dim=dim,
        storage=storage,
        precision=made_by["precision"],
        cosine_to_fp32=float(made_by["cosine_to_fp32"]),
        tokens=pc.sum(rows["tokens"]).as_py() or 0,
        truncated=pc.sum(pc.greater(rows["dropped"], 0)).as_py() or 0,
        dropped_tokens=pc.sum(rows["dropped"]).as_py() or 0,
        documents=changes + 1 if len(documents) else 0,
        first_document=documents[0].as_py() if len(documents) else "",
        last_document=documents[-1].as_py() if len(documents) else "",
    )


def write_manifest(whole: Sequence[Partition], out: Path) -> None:
    """Write ``manifest.json``: encoder, dimension, storage, and name, rows and SHA-256 of each partition.

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
        "storage": whole[0].storage,
        "precision": whole[0].precision,
        "partitions": [partition.model_dump(include={"name", "rows", "sha256"}) for partition in whole],
    }
    with whole_or_absent(out / "manifest.json") as unfinished:
        unfinished.write_text(json.dumps(manifest, indent=2))


def count_documents(whole: Sequence[Partition]) -> int:
    """Documents in partitions: one whose passages run on into the next partition is counted once."""
    ordered = sorted(whole, key=lambda partition: partition.name)
    shared = sum(
        bool(before.rows and after.rows) and before.last_document == after.first_document
        for before, after in itertools.pairwise(ordered)
    )
    return sum(partition.documents for partition in ordered) - shared
