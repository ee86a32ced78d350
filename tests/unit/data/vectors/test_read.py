"""The table of vectors in every storage: read without a copy where it can be."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.cache.keys import text_hashes
from data.embedding.embed import EmbedConfig
from data.encoders.protocol import Encoded
from data.partitions import partition_name, partitions, read_batches, read_table
from data.vectors.quantise import DTYPES, STORAGES, Floats, Storage, decode, encode
from data.vectors.read import codes, matrix, read_codes
from data.vectors.table import ROW_GROUP, describe, write_vectors

DIM = 32
PARTS = (1300, 700)


class Maker:
    """What an encoder leaves in the files it makes."""

    fingerprint, dim, precision, cosine_to_fp32 = "made", DIM, "fp32", 1.0


def unit(count: int, seed: int = 0) -> Floats:
    raw = np.random.default_rng(seed).standard_normal((count, DIM))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def passage_ids(count: int, start: int = 0) -> list[str]:
    return [hashlib.blake2b(str(start + i).encode(), digest_size=16).hexdigest() for i in range(count)]


def write(folder: Path, storage: Storage, ids: list[list[str]] | None = None) -> Path:
    """A table of two partitions, the first of three row groups."""
    folder.mkdir()
    for number, rows in enumerate(PARTS):
        own = passage_ids(rows, 10_000 * number) if ids is None else ids[number]
        encoded = Encoded(unit(rows, number), np.arange(rows, dtype=np.int32), 0.0)
        documents = pa.chunked_array([[f"d{i // 3}" for i in range(rows)]])
        write_vectors(
            pa.chunked_array([own]),
            documents,
            text_hashes(own),
            encoded,
            Maker(),  # type: ignore[arg-type]
            folder / partition_name(number),
            storage,
        )
    return folder


@pytest.fixture(scope="module", params=STORAGES)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Storage]:
    return write(tmp_path_factory.mktemp("store") / "vectors", request.param), request.param


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def arrow_address(batch: pa.RecordBatch) -> int:
    column = batch.column("vector")
    buffer = column.buffers()[1] if pa.types.is_fixed_size_binary(column.type) else column.values.buffers()[1]
    return int(buffer.address)


def test_a_partition_says_what_stands_in_it(stored: tuple[Path, Storage]) -> None:
    folder, storage = stored
    described = describe(folder / partition_name(0))
    assert (described.rows, described.dim, described.storage, described.fingerprint) == (1300, DIM, storage, "made")
    metadata = pq.read_metadata(folder / partition_name(0))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 276]
    schema = pq.read_schema(folder / partition_name(0))
    assert schema.names == ["id", "document_id", "vector", "tokens", "dropped", "text_hash"]
    kinds = {"float32": pa.list_(pa.float32(), DIM), "float16": pa.list_(pa.float16(), DIM), "binary": pa.binary(4)}
    assert schema.field("vector").type == kinds.get(storage, pa.binary(DIM))
    assert metadata.row_group(0).column(2).compression == "ZSTD"


def test_float32_comes_of_any_storage_by_one_function(stored: tuple[Path, Storage]) -> None:
    folder, storage = stored
    everything = np.concatenate([unit(rows, number) for number, rows in enumerate(PARTS)])
    expected = decode(encode(everything, storage), storage)
    np.testing.assert_array_equal(matrix(read_table(folder)), expected)
    batches = [matrix(batch) for batch in read_batches(folder, ["vector"], rows=300)]
    assert max(map(len, batches)) <= 300
    np.testing.assert_array_equal(np.concatenate(batches), expected)
    assert matrix(read_table(folder)).dtype == np.float32


def test_a_batch_is_read_in_arrows_own_memory(stored: tuple[Path, Storage]) -> None:
    folder, storage = stored
    batch = next(read_batches(folder, rows=100))
    here = arrow_address(batch)
    shown = codes(batch)
    assert address(shown) == here and shown.dtype == DTYPES[storage] and not shown.flags.writeable
    assert (address(matrix(batch)) == here) == (storage == "float32")  # anything else has to be decoded


def test_slices_keep_their_place(stored: tuple[Path, Storage]) -> None:
    folder, _ = stored
    batch = next(read_batches(folder, rows=100))
    part = batch.slice(40, 7)
    np.testing.assert_array_equal(codes(part), codes(batch)[40:47])


def test_a_table_of_many_pieces_is_copied_once(stored: tuple[Path, Storage]) -> None:
    folder, _ = stored
    table = read_table(folder)
    assert table["vector"].num_chunks > 1
    ids, everything = read_codes(folder)
    np.testing.assert_array_equal(everything, codes(table))
    assert ids.to_pylist() == table["id"].to_pylist() and everything.flags.writeable


def test_an_empty_table_has_a_shape(tmp_path: Path) -> None:
    write(tmp_path / "v", "int8")
    nothing = pq.read_schema(tmp_path / "v" / partition_name(0)).empty_table()
    assert matrix(nothing).shape == (0, DIM) and codes(nothing).shape == (0, DIM)


def test_compression_is_worth_its_bytes(tmp_path: Path) -> None:
    """Files are smaller than their numbers, ids and hashes of the texts; documents are included."""
    folder = write(tmp_path / "v", "float32")
    size = sum(path.stat().st_size for path in partitions(folder))
    assert size < sum(PARTS) * (DIM * 4 + 32 + 16)


def test_the_storage_of_an_embedding_is_part_of_its_key() -> None:
    assert EmbedConfig().identity() == {"storage": "float32"} == EmbedConfig(actors=2).identity()
    assert EmbedConfig(storage="float16").identity() == {"storage": "float16"}
    with pytest.raises(ValueError, match=re.escape("'float32' or 'float16'")):
        EmbedConfig(storage="int8")  # type: ignore[arg-type]
