"""The table of vectors in every storage: read without a copy where it can be, and by ids without the rest."""

import hashlib
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data.cache.keys import text_hashes
from data.embedding.embed import EmbedConfig
from data.encoders import Encoded
from data.partitions import partition_name, partitions, read_batches, read_table
from data.vectors.quantise import DTYPES, STORAGES, Floats, Storage, decode, encode
from data.vectors.read import as_polars, as_torch, candidates, codes, matrix, read_codes, read_ids
from data.vectors.table import ROW_GROUP, describe, storage_of, write_vectors

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


def test_a_batch_is_shown_to_numpy_torch_and_polars_in_arrows_own_memory(stored: tuple[Path, Storage]) -> None:
    folder, storage = stored
    batch = next(read_batches(folder, rows=100))
    here = arrow_address(batch)
    shown = codes(batch)
    assert address(shown) == here and shown.dtype == DTYPES[storage] and not shown.flags.writeable
    tensor = as_torch(batch)
    assert tensor.data_ptr() == here and tuple(tensor.shape) == shown.shape
    frame = as_polars(batch)
    assert frame.columns == batch.schema.names and frame["id"].to_list() == batch["id"].to_pylist()
    assert address(frame["vector"].to_numpy(allow_copy=False)) == here
    assert (address(matrix(batch)) == here) == (storage == "float32")  # anything else has to be decoded
    numbers = tensor.float().numpy() / 256 if storage == "float8" else shown
    np.testing.assert_array_equal(numbers, decode(shown, storage) if storage == "float32" else numbers)
    np.testing.assert_array_equal(frame["vector"].to_numpy(), shown)


def test_float8_is_a_tensor_of_float8(tmp_path: Path) -> None:
    batch = next(read_batches(write(tmp_path / "v", "float8")))
    assert as_torch(batch).dtype == torch.float8_e4m3fn
    np.testing.assert_allclose(as_torch(batch).float().numpy() / 256, matrix(batch), atol=0.02)


def test_slices_keep_their_place(stored: tuple[Path, Storage]) -> None:
    folder, _ = stored
    batch = next(read_batches(folder, rows=100))
    part = batch.slice(40, 7)
    np.testing.assert_array_equal(codes(part), codes(batch)[40:47])
    np.testing.assert_array_equal(as_torch(part).view(torch.uint8).numpy(), as_torch(batch).view(torch.uint8)[40:47])
    np.testing.assert_array_equal(as_polars(part)["vector"].to_numpy(), codes(batch)[40:47])


def test_a_table_of_many_pieces_is_copied_once_and_polars_keeps_the_pieces(stored: tuple[Path, Storage]) -> None:
    folder, _ = stored
    table = read_table(folder)
    assert table["vector"].num_chunks > 1
    np.testing.assert_array_equal(as_torch(table).view(torch.uint8).numpy(), codes(table).view(np.uint8))
    assert as_polars(table)["vector"].n_chunks() == table["vector"].num_chunks
    ids, everything = read_codes(folder)
    np.testing.assert_array_equal(everything, codes(table))
    assert ids.to_pylist() == table["id"].to_pylist() and everything.flags.writeable


def test_an_empty_table_has_a_shape(tmp_path: Path) -> None:
    write(tmp_path / "v", "int8")
    nothing = pq.read_schema(tmp_path / "v" / partition_name(0)).empty_table()
    assert matrix(nothing).shape == (0, DIM) and as_torch(nothing).shape == (0, DIM)
    assert as_polars(nothing)["vector"].dtype == pl.Array(pl.Int8, DIM)


def test_ids_bring_their_rows_in_the_order_asked(stored: tuple[Path, Storage]) -> None:
    folder, _ = stored
    table = read_table(folder)
    known = table["id"].to_pylist()
    asked = [known[1999], "never seen", known[3], known[600], known[1300]]
    rows = read_ids(folder, asked, ["id", "vector", "tokens"])
    assert rows["id"].to_pylist() == [known[i] for i in (1999, 3, 600, 1300)]
    assert rows["tokens"].to_pylist() == [699, 3, 600, 0]
    np.testing.assert_array_equal(codes(rows), codes(table)[[1999, 3, 600, 1300]])
    assert rows["vector"].num_chunks == 1
    assert read_ids(folder, ["never seen"]).num_rows == 0 and read_ids(folder, []).num_rows == 0
    assert storage_of(read_ids(folder, []).schema) == storage_of(table.schema)


def spoil(path: Path, kept: list[int], columns: set[str]) -> None:
    """Overwrite what a file holds of some columns in all row groups but ``kept``."""
    metadata = pq.read_metadata(path)
    data = bytearray(path.read_bytes())
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if group not in kept and column.path_in_schema.split(".")[0] in columns:
                start = column.dictionary_page_offset or column.data_page_offset
                data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)


def test_by_ids_no_other_row_group_is_read(stored: tuple[Path, Storage], tmp_path: Path) -> None:
    """All other row groups are unreadable, ids and vectors both, and the answer is the same."""
    folder, _ = stored
    spoilt = tmp_path / "vectors"
    spoilt.mkdir()
    for path in partitions(folder):
        (spoilt / path.name).write_bytes(path.read_bytes())
    asked = [passage_ids(1, 5)[0], passage_ids(1, 10_600)[0]]  # in the first group, and in the second of the next file
    expected = read_ids(folder, asked)
    for path, group in zip(partitions(spoilt), (0, 1), strict=True):
        assert candidates(path, pq.read_metadata(path), asked) == [group]
        spoil(path, [group], {"id", "vector"})
    assert read_ids(spoilt, asked).equals(expected)
    with pytest.raises(OSError):
        read_table(spoilt)


def test_a_false_alarm_of_the_filter_costs_ids_but_no_vectors(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", "int8")
    path = folder / partition_name(0)
    metadata = pq.read_metadata(path)
    mine = passage_ids(1, 5)[0]
    strangers = passage_ids(4000, 500_000)
    alarmed = next(s for s in strangers if candidates(path, metadata, [s]) and candidates(path, metadata, [s]) != [0])
    expected = read_ids(folder, [mine])
    spoil(path, [0], {"vector"})
    spoil(folder / partition_name(1), [], {"vector"})
    assert read_ids(folder, [mine, alarmed]).equals(expected)


def test_the_filter_never_misses_and_seldom_errs(tmp_path: Path) -> None:
    folder = write(tmp_path / "v", "binary")
    path = folder / partition_name(0)
    metadata = pq.read_metadata(path)
    for row, id_ in enumerate(passage_ids(PARTS[0])):
        assert row // ROW_GROUP in candidates(path, metadata, [id_])
    false = sum(len(candidates(path, metadata, [id_])) for id_ in passage_ids(2000, 900_000))
    assert false / (2000 * 3) < 0.02


def test_ordered_ids_need_no_filter(tmp_path: Path) -> None:
    """Row groups whose smallest and largest id leave no room are passed over by that alone."""
    ids = [[f"{i:06d}" for i in range(PARTS[0])], [f"{10_000 + i:06d}" for i in range(PARTS[1])]]
    folder = write(tmp_path / "v", "float16", ids)
    path = folder / partition_name(0)
    plain = pq.read_table(path)
    pq.write_table(plain, path, row_group_size=ROW_GROUP)
    assert pq.read_metadata(path).row_group(0).column(0).bloom_filter_offset is None
    assert candidates(path, pq.read_metadata(path), ["000600"]) == [1]
    assert read_ids(folder, ["000600"])["id"].to_pylist() == ["000600"]


def test_compression_and_filter_are_worth_their_bytes(tmp_path: Path) -> None:
    """Files are smaller than their numbers, ids and hashes of the texts; documents and filters are included."""
    folder = write(tmp_path / "v", "float32")
    size = sum(path.stat().st_size for path in partitions(folder))
    assert size < sum(PARTS) * (DIM * 4 + 32 + 16)


def test_what_was_made_before_there_was_a_choice_keeps_its_key() -> None:
    assert EmbedConfig().identity() == {} == EmbedConfig(storage="float32", actors=2).identity()
    assert EmbedConfig(storage="float16").identity() == {"storage": "float16"}
    with pytest.raises(ValueError, match=re.escape("'float32' or 'float16'")):
        EmbedConfig(storage="int8")  # type: ignore[arg-type]
