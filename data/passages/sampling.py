"""A sample of a passages table, the same for the same table and seed; memory holds the sample and one batch."""

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.partitions import partitions, read_batches
from data.passages.text import passage_text, passage_texts


@dataclass(frozen=True)
class PassageSample:
    """Some passages of a table.

    Attributes:
        documents: id of each passage's document.
        titles: of each, empty where it carries none.
        bodies: the text of each, without its title.
        of: passages in the whole table.
    """

    documents: list[str]
    titles: list[str]
    bodies: list[str]
    of: int

    @cached_property
    def texts(self) -> list[str]:
        """The text that is embedded for each."""
        return list(map(passage_text, self.titles, self.bodies))


def sample_passages(passages: Path, count: int, seed: int = 0, wanted: Set[str] = frozenset()) -> PassageSample:
    """Draw passages, every one with the same chance, in the table's order.

    Args:
        passages: the table's folder.
        count: how many to draw; all of them where the table has no more.
        seed: of the drawing.
        wanted: documents whose passages are taken in any case; they count towards ``count`` but are never cut off.
    """
    # Each row draws a key and the smallest keys stay: one pass over one column, however long the table is.
    rng = np.random.default_rng(seed)
    kept = np.empty((0, 2))  # key, row
    rows = 0
    for batch in read_batches(passages, ["document_id"]):
        keys = rng.random(batch.num_rows)
        if wanted:
            keys[[document in wanted for document in batch["document_id"].to_pylist()]] = -1.0
        drawn = np.column_stack([keys, np.arange(rows, rows + batch.num_rows)])
        kept = _smallest(np.concatenate([kept, drawn]), count)
        rows += batch.num_rows
    return _read(passages, np.sort(kept[:, 1]).astype(np.int64), rows)


def _smallest(drawn: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """The ``count`` rows of the smallest keys, and every row that is wanted."""
    count = max(count, int((drawn[:, 0] < 0).sum()))
    return drawn if len(drawn) <= count else drawn[np.argpartition(drawn[:, 0], count - 1)[:count]]


def _read(passages: Path, chosen: npt.NDArray[np.int64], rows: int) -> PassageSample:
    found: list[pa.RecordBatch] = []
    start = 0
    for batch in read_batches(passages, ["document_id", "title", "text"], rows=256):
        here = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        if len(here):
            found.append(batch.take(pa.array(here)))
        start += batch.num_rows

    def column(name: str) -> list[str]:
        return [one for batch in found for one in batch[name].to_pylist()]

    return PassageSample(column("document_id"), column("title"), column("text"), rows)


def sampled_texts(passages: Path, of_partitions: int = 16, of_each: int = 32) -> list[str]:
    """What is embedded for some passages, in time that does not grow with the table: the first ones of some partitions.

    Args:
        passages: the table's folder.
        of_partitions: how many partitions are read, at even distances.
        of_each: passages read of each.
    """
    files = partitions(passages)
    texts: list[str] = []
    for file in files[:: max(1, -(-len(files) // of_partitions))]:
        with pq.ParquetFile(file) as opened:
            batch = next(opened.iter_batches(batch_size=of_each, columns=["title", "text"]), None)
            if batch is not None:
                texts += passage_texts(*pa.Table.from_batches([batch]).columns).to_pylist()
    return texts
