"""The table of multivectors gives back what was put in, in every storage, whole or in parts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.encoders.transformer.token_vectors import TokenVectors
from data.errors import InputError
from data.vectors.multivectors import multivector_table, read_multivectors, write_multivectors
from data.vectors.quantise import STORAGES, Storage, decode, encode


@pytest.fixture(scope="module")
def made() -> TokenVectors:
    """Token vectors of four texts, of 16 dimensions."""
    vectors = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    return TokenVectors(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.array([0, 3, 4, 60, 100]))


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_read_is_what_was_stored(made: TokenVectors, storage: Storage, tmp_path: Path) -> None:
    ids = pa.chunked_array([["a", "b", "c", "d"]])
    path = tmp_path / "part-00000.parquet"
    write_multivectors([multivector_table(ids, ids, made, storage)], path)
    (whole,) = read_multivectors(path)
    codes = encode(made.vectors, storage)
    assert whole.ids == ["a", "b", "c", "d"] and whole.starts.tolist() == made.starts.tolist()
    assert whole.storage == storage and whole.tokens.dtype == codes.dtype and not whole.tokens.flags.owndata
    assert np.array_equal(whole.tokens, codes)
    assert np.array_equal(np.concatenate(whole.each()), decode(codes, storage))

    few = list(read_multivectors(path, rows=3))
    assert [part.ids for part in few] == [["a", "b", "c"], ["d"]]
    assert [part.starts.tolist() for part in few] == [[0, 3, 4, 60], [0, 40]]
    assert np.array_equal(np.concatenate([part.tokens for part in few]), codes)


def test_a_partition_is_written_in_parts_and_whole_or_absent(made: TokenVectors, tmp_path: Path) -> None:
    tables = [multivector_table(ids, ids, made, "float16") for ids in (list("abcd"), list("efgh"))]
    path = tmp_path / "part-00000.parquet"

    def cut_short() -> Iterator[pa.Table]:
        yield tables[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_multivectors(cut_short(), path)
    assert list(tmp_path.iterdir()) == []
    write_multivectors(iter(tables), path)
    assert [id_ for part in read_multivectors(path, rows=3) for id_ in part.ids] == list("abcdefgh")


def test_no_passages_make_a_partition_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    nothing = TokenVectors(np.empty((0, 16), np.float32), np.zeros(1, np.int64))
    write_multivectors([multivector_table([], [], nothing, "int8")], path)
    assert [id_ for part in read_multivectors(path) for id_ in part.ids] == []


def test_bits_that_fill_no_byte_are_refused(made: TokenVectors) -> None:
    with pytest.raises(InputError, match="no multiple of 8"):
        multivector_table(list("abcd"), list("abcd"), TokenVectors(made.vectors[:, :9], made.starts), "binary")
