"""The tier on disk: vectors in the partitions of earlier artifacts, found by an index of their texts' hashes.

The index is three files of 8 bytes a row, sorted by hash and read through memory maps, so that neither making it nor
asking it takes memory that grows with the corpus.
"""

import itertools
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.cache import Entries, Found, TierCounts
from data.cache.keys import HASH_BYTES, Hashes, from_arrow, hashes_of
from data.partitions import partition_name, partitions

logger = logging.getLogger("catena")

Numbers = npt.NDArray[np.uint64]
FOLDER = "text_hashes"
_FILES = ("head", "tail", "place")  # first and last 8 bytes of the hash; partition << 32 | row
_BUCKET_BITS = 12


def write_index(out: Path) -> None:
    """Index the vectors in ``out/vectors`` by their texts' hashes: scattered to buckets by first bits, then sorted.

    The partitions are those of a whole artifact, numbered without a gap.

    Raises:
        OSError: if the disk is full.
    """
    paths = partitions(out / "vectors")
    sizes = np.zeros(2**_BUCKET_BITS, np.int64)
    for path in paths:
        sizes += np.bincount(_bucket(_columns(_hashes(path))[0]), minlength=len(sizes))
    ends = np.cumsum(sizes)
    free = ends - sizes
    (out / FOLDER).mkdir(exist_ok=True)
    head, tail, place = (_create(out, name, int(ends[-1])) for name in _FILES)
    for number, path in enumerate(paths):
        first, second = _columns(_hashes(path))
        order = np.argsort(_bucket(first), kind="stable")
        bucket, counts = _bucket(first)[order], np.bincount(_bucket(first), minlength=len(sizes))
        rows = free[bucket] + np.arange(len(order)) - (np.cumsum(counts) - counts)[bucket]
        head[rows], tail[rows] = first[order], second[order]
        place[rows] = np.uint64(number << 32) | order.astype(np.uint64)
        free += counts
    for start, end in zip((ends - sizes)[sizes > 0], ends[sizes > 0], strict=True):
        order = np.argsort(head[start:end], kind="stable")
        for column in (head, tail, place):
            column[start:end] = column[start:end][order]


class HashIndex:
    """The index of one artifact, opened.

    Args:
        artifact: the folder that ``write_index`` was given.
    """

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact
        self.head, self.tail, self._place = (_open(artifact, name) for name in _FILES)

    def find(self, hashes: Hashes) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Partition << 32 | row of each hash that is there, and which they are; the first of rows of equal text."""
        head, tail = _columns(hashes)
        if not len(self.head):
            return np.empty(0, np.uint64), np.zeros(len(head), np.bool_)
        rows = np.minimum(np.searchsorted(self.head, head), len(self.head) - 1)
        # Two texts may share their first 8 bytes, once in billions: the second is not found, and computed.
        found = (self.head[rows] == head) & (self.tail[rows] == tail)
        return np.asarray(self._place[rows[found]]), found


def open_indexes(artifacts: Sequence[Path]) -> list[HashIndex]:
    """The indexes of those artifacts that still exist; a missing one is logged."""
    opened = []
    for artifact in artifacts:
        try:
            opened.append(HashIndex(artifact))
        except OSError as error:  # removed since the job began
            logger.warning("cache: %s cannot be read (%s), computing its vectors", artifact, error)
    return opened


class StoredTier:
    """Copies vectors out of earlier artifacts; nothing is written to them.

    An artifact or a partition that cannot be read any more is skipped and counted.

    Only float32 of the encoder's own dimension is taken: what was reduced or rounded is not the encoder's vector.

    Args:
        artifacts: their folders, asked in this order.
        dim: of the vectors.
    """

    name = "stored"

    def __init__(self, artifacts: Sequence[Path], dim: int) -> None:
        self.counts = TierCounts()
        self._dim = dim
        self._sources = open_indexes(artifacts)
        self._all = len(self._sources) == len(artifacts)

    def get_many(self, keys: Sequence[bytes]) -> Found:
        """The entries that are there, and which keys they are."""
        hashes, found = hashes_of(keys), np.zeros(len(keys), np.bool_)
        whole = Entries.empty(len(keys), self._dim)
        for index in self._sources:
            wanted = np.flatnonzero(~found)
            places, hit = index.find(hashes[wanted])
            for number, rows, stored in _by_partition(places, wanted[hit]):
                path = index.artifact / "vectors" / partition_name(number)
                try:
                    entries = _read(path, stored, self._dim)
                except (OSError, pa.ArrowException) as error:  # removed while this job runs
                    self.counts.degraded += len(rows)
                    logger.warning("cache: %s cannot be read (%s), computing its vectors", path, error)
                    continue
                whole.vectors[rows], whole.tokens[rows], found[rows] = entries.vectors, entries.tokens, True
        if not self._all:
            self.counts.degraded += int(np.count_nonzero(~found))
        return whole.select(found), found

    def put_many(self, keys: Sequence[bytes], entries: Entries) -> None:
        """Nothing: a finished artifact does not change."""


def earlier_artifacts(out: Path) -> dict[str, list[str]]:
    """Names of finished artifacts beside ``out`` whose vectors can be copied, by the fingerprint of their encoder."""
    names: dict[str, list[str]] = {}
    for artifact in sorted(path.parents[1] for path in out.parent.glob(f"*/{FOLDER}/place.npy")):
        if artifact.name != out.name and (artifact / "_SUCCESS").exists() and _in_float32(artifact):
            manifest = json.loads((artifact / "manifest.json").read_text())
            names.setdefault(manifest["fingerprint"], []).append(artifact.name)
    return names


def _in_float32(artifact: Path) -> bool:
    """Whether vectors are stored as they were computed, in float32."""
    paths = partitions(artifact / "vectors")
    if not paths:
        return False
    kind = pq.read_schema(paths[0]).field("vector").type
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32())


def _read(path: Path, rows: npt.NDArray[np.int64], dim: int) -> Entries:
    """Entries of some rows of a partition, out of the row groups that hold them."""
    with pq.ParquetFile(path) as file:
        sizes = np.array([file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)], np.int64)
        ends = np.cumsum(sizes)
        group = np.searchsorted(ends, rows, side="right")
        read, place = np.unique(group, return_inverse=True)
        table = file.read_row_groups(read.tolist(), columns=["vector", "tokens", "dropped"])
    rows = rows - (ends - sizes)[group] + (np.cumsum(sizes[read]) - sizes[read])[place]
    if table.schema.field("vector").type != pa.list_(pa.float32(), dim):
        raise pa.ArrowInvalid(f"holds {table.schema.field('vector').type}")
    column = table["vector"].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, dim)
    tokens = np.column_stack([table[name].to_numpy()[rows] for name in ("tokens", "dropped")])
    return Entries(vectors[rows], tokens.astype(np.int32))


def _by_partition(
    places: Numbers, wanted: npt.NDArray[np.int64]
) -> Iterator[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Places by partition: its number, positions among the keys, and rows in it."""
    numbers, rows = (places >> np.uint64(32)).astype(np.int64), (places & np.uint64(2**32 - 1)).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    borders = np.flatnonzero(np.diff(numbers[order], prepend=-1, append=-1))
    for start, end in itertools.pairwise(borders):
        some = order[start:end]
        yield int(numbers[some[0]]), wanted[some], rows[some]


def _columns(hashes: Hashes) -> tuple[Numbers, Numbers]:
    """First and last 8 bytes of hashes as numbers in the order of their bytes."""
    numbers = np.ascontiguousarray(hashes).view(">u8").astype(np.uint64)
    return np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1])


def _bucket(head: Numbers) -> npt.NDArray[np.int64]:
    return (head >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)


def _hashes(path: Path) -> Hashes:
    """Of a partition's texts; none of one that was written before there was the column."""
    with pq.ParquetFile(path) as file:
        if "text_hash" not in file.schema_arrow.names:
            return np.empty((0, HASH_BYTES), np.uint8)
        return from_arrow(file.read(columns=["text_hash"])["text_hash"])


def _file(artifact: Path, name: str) -> Path:
    return artifact / FOLDER / f"{name}.npy"


def _create(artifact: Path, name: str, rows: int) -> "np.memmap[tuple[int], np.dtype[np.uint64]]":
    """A file of its whole size on disk: where a map has no block for a page, writing to it is a bus error.

    Raises:
        OSError: if the disk has no room for it and the system reports that beforehand.
    """
    path = _file(artifact, name)
    opened = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint64, shape=(rows,))
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return opened


def _open(artifact: Path, name: str) -> Numbers:
    opened: Numbers = np.load(_file(artifact, name), mmap_mode="r")
    return opened
