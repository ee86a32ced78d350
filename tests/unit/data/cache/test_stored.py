"""Vectors of earlier artifacts: found by their texts' hashes and copied bit for bit, only from where they are exact."""

import json
import shutil
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.cache.keys import cache_keys, text_hashes, to_arrow
from data.cache.stored import FOLDER, HashIndex, StoredTier, earlier_artifacts, write_index
from data.partitions import partition_name, write_partition

DIM = 4


def vector_of(text: str) -> list[float]:
    return np.random.default_rng(list(text.encode())).standard_normal(DIM).astype(np.float32).tolist()


def store(folder: Path, texts: Sequence[Sequence[str]], kind: pa.DataType | None = None) -> Path:
    """A finished artifact of partitions of texts."""
    (folder / "vectors").mkdir(parents=True)
    for number, part in enumerate(texts):
        columns = {
            "vector": pa.array([vector_of(text) for text in part], kind or pa.list_(pa.float32(), DIM)),
            "tokens": pa.array([len(text) for text in part], pa.int32()),
            "dropped": pa.array([0] * len(part), pa.int32()),
            "text_hash": to_arrow(text_hashes(part)),
        }
        write_partition(pa.table(columns), folder / "vectors" / partition_name(number))
    write_index(folder)
    (folder / "manifest.json").write_text(json.dumps({"fingerprint": "mark"}))
    (folder / "_SUCCESS").touch()
    return folder


def keys_of(texts: Sequence[str]) -> list[bytes]:
    return cache_keys("document", "mark", text_hashes(texts))


def test_vectors_are_copied_bit_for_bit_from_wherever_they_are(tmp_path: Path) -> None:
    one = store(tmp_path / "one", [["a", "b"], [], ["c", "d", "a"]])
    two = store(tmp_path / "two", [["e", "c"]])
    found, mask = StoredTier([one, two], DIM).get_many(keys_of(["x", "d", "e", "a", "c", "d"]))
    assert mask.tolist() == [False, True, True, True, True, True]
    assert found.vectors.tolist() == [vector_of(text) for text in "deacd"]
    assert found.tokens[:, 0].tolist() == [1] * 5 and found.vectors.dtype == np.float32


def test_of_a_partition_the_row_groups_that_hold_a_row_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text {n}" for n in range(50)]
    artifact = store(tmp_path / "one", [texts])
    path = artifact / "vectors" / partition_name(0)
    pq.write_table(pq.read_table(path), path, row_group_size=7)  # eight groups, the last of one row
    read: list[list[int]] = []
    plain = pq.ParquetFile.read_row_groups

    def watched(self: pq.ParquetFile, groups: list[int], columns: list[str]) -> pa.Table:
        read.append(groups)
        return plain(self, groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    asked = [texts[n] for n in (49, 30, 8, 29, 13)]
    found, mask = StoredTier([artifact], DIM).get_many(keys_of(asked))
    assert mask.all() and found.vectors.tolist() == [vector_of(text) for text in asked]
    assert read == [[1, 4, 7]]


def test_an_artifact_without_rows_has_none(tmp_path: Path) -> None:
    assert not StoredTier([store(tmp_path / "empty", [[]])], DIM).get_many(keys_of(["a"]))[1].any()
    assert not StoredTier([store(tmp_path / "full", [["a"]])], DIM).get_many([])[1].any()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.sampled_from([f"text {n}" for n in range(40)]), max_size=20), min_size=1, max_size=4))
def test_the_index_finds_what_is_there_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]]
) -> None:
    index = HashIndex(store(tmp_path_factory.mktemp("artifact") / "a", texts))
    asked = [f"text {n}" for n in range(40)]
    places, found = index.find(text_hashes(asked))
    there = {text for part in texts for text in part}
    assert [text for text, hit in zip(asked, found, strict=True) if hit] == [t for t in asked if t in there]
    for text, place in zip([t for t in asked if t in there], places.tolist(), strict=True):
        assert texts[place >> 32][place & 0xFFFFFFFF] == text
    assert (np.diff(index.head.astype(object)) >= 0).all()


def test_two_texts_that_share_eight_bytes_of_hash_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    hashes = np.zeros((1, 16), np.uint8)
    (tmp_path / "vectors").mkdir()
    write_partition(pa.table({"text_hash": to_arrow(hashes)}), tmp_path / "vectors" / partition_name(0))
    write_index(tmp_path)
    other = hashes.copy()
    other[0, 15] = 1
    assert HashIndex(tmp_path).find(np.concatenate([hashes, other]))[1].tolist() == [True, False]


def test_only_finished_exact_artifacts_are_copied_from(tmp_path: Path) -> None:
    store(tmp_path / "good", [["a"]])
    (store(tmp_path / "unfinished", [["a"]]) / "_SUCCESS").unlink()
    store(tmp_path / "float16", [["a"]], pa.list_(pa.float16(), DIM))
    store(tmp_path / "bytes", [["a"]], pa.list_(pa.float32(), DIM))
    for path in (tmp_path / "bytes" / "vectors").iterdir():  # quantised: codes of one width
        table = pq.read_table(path)
        pq.write_table(table.set_column(0, "vector", pa.array([b"1234"], pa.binary(4))), path)
    (tmp_path / "older" / "vectors").mkdir(parents=True)
    (tmp_path / "older" / "_SUCCESS").touch()
    assert earlier_artifacts(tmp_path / "new") == {"mark": ["good"]}
    assert earlier_artifacts(tmp_path / "good") == {}


def test_another_dimension_and_a_removed_artifact_are_counted_not_fatal(tmp_path: Path) -> None:
    one = store(tmp_path / "one", [["a"], ["b"]])
    tier = StoredTier([one], DIM)
    (one / "vectors" / partition_name(0)).unlink()
    assert tier.get_many(keys_of(["a", "b"]))[1].tolist() == [False, True]
    shutil.rmtree(one)
    assert not tier.get_many(keys_of(["a", "b"]))[1].any()
    assert tier.counts.degraded == 3
    wider = StoredTier([store(tmp_path / "two", [["a"]])], DIM + 1)
    assert not wider.get_many(keys_of(["a"]))[1].any() and wider.counts.degraded == 1


def test_what_is_removed_before_it_is_opened_is_counted_not_fatal(tmp_path: Path) -> None:
    gone, one = store(tmp_path / "gone", [["a"]]), store(tmp_path / "one", [["b"], ["c"]])
    (gone / FOLDER / "tail.npy").unlink()
    (one / "vectors" / partition_name(0)).unlink()
    tier = StoredTier([gone, one], DIM)
    found, mask = tier.get_many(keys_of(["a", "b", "c"]))
    assert mask.tolist() == [False, False, True] and found.vectors.tolist() == [vector_of("c")]
    assert tier.counts.degraded == 3  # "a" and "b", which the first may have had, and "b" of the second


def test_partitions_of_before_the_hashes_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    write_partition(pa.table({"tokens": [1]}), tmp_path / "vectors" / partition_name(0))
    write_partition(pa.table({"text_hash": to_arrow(text_hashes(["a"]))}), tmp_path / "vectors" / partition_name(1))
    write_index(tmp_path)
    places, found = HashIndex(tmp_path).find(text_hashes(["a"]))
    assert found.all() and places.tolist() == [1 << 32]


def test_memory_does_not_grow_with_the_index(tmp_path: Path) -> None:
    peaks = []
    for rows in (20_000, 100_000):
        folder = tmp_path / str(rows)
        (folder / "vectors").mkdir(parents=True)
        for number in range(rows // 10_000):
            hashes = np.random.default_rng(number).integers(0, 256, (10_000, 16), np.uint8)
            write_partition(pa.table({"text_hash": to_arrow(hashes)}), folder / "vectors" / partition_name(number))
        tracemalloc.start()
        write_index(folder)
        HashIndex(folder).find(hashes)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
