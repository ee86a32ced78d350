"""Lines of one piece of a file, cleaned, to the partitions of their baskets; what is rejected, beside them."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from data.baskets.clean import clean
from data.baskets.columns import BASKET, ITEM, batches
from data.baskets.config import BasketsConfig
from data.files import whole_folder_or_absent

REJECTS = "rejects.parquet"


class Piece(NamedTuple):
    """A part of a file: its number, the file, its format, and the row groups of Parquet."""

    number: int
    file: Path
    format: str
    groups: tuple[int, ...]

    @property
    def place(self) -> str:
        """Its name in messages and rejects."""
        return f"{self.file}{f' row groups from {self.groups[0]}' if self.groups and self.groups[0] else ''}"


@dataclass
class Landed:
    """What a piece gave; sums over pieces are those of the run.

    Attributes:
        counts: as of ``clean``.
        reasons: rejected lines by reason.
        currencies: lines of each.
        first_reject: in words, of a run that is strict.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""


def land(piece: Piece, config: BasketsConfig, products: pl.DataFrame, parts: int, folder: Path) -> Landed:
    """Write a piece's lines to ``folder/PIECE/PART.arrows``; what an earlier run has finished is kept.

    Args:
        piece: to read.
        config: columns and rules.
        products: of ``read_items``.
        parts: number of partitions; a basket's lines all go to one.
        folder: of all pieces.
    """
    landed, here = Landed(), folder / f"{piece.number:05d}"
    listed = piece.format in ("lists", "fimi")
    columns = [BASKET, ITEM] if listed else config.orders.columns()
    cancelled = tuple(value.lower() for value in config.cancelled)
    with whole_folder_or_absent(here) as unfinished:
        unfinished.mkdir()
        writers: dict[int, Any] = {}
        rejects, row = [], int(piece.format in ("csv", "tsv"))  # the head of a file is its first line
        for batch in batches(piece.file, piece.format, columns, piece.groups):
            cleaned = clean(batch, config.orders, products, config.currency, cancelled)
            if cleaned.rejects.height:
                rejects.append(cleaned.rejects.with_columns(pl.col("row") + row + 1))
                landed.reasons.update(dict(cleaned.rejects["reason"].value_counts().iter_rows()))
                if config.strict:
                    at, reason, product = rejects[0].row(0)
                    landed.first_reject = f"{piece.place}, line {at}: {reason} (product {product!r})"
                    break
            row += batch.height
            landed.counts.update(cleaned.counts)
            landed.currencies.update(cleaned.currencies)
            _append(cleaned.lines, parts, unfinished, writers)
        for writer in writers.values():
            writer.close()
        if rejects:
            pl.concat(rejects).with_columns(file=pl.lit(piece.place)).write_parquet(unfinished / REJECTS)
    return landed


def _append(lines: pl.DataFrame, parts: int, folder: Path, writers: dict[int, Any]) -> None:
    split = {0: lines} if parts == 1 else _split(lines, parts)
    for part, of_part in split.items():
        table = of_part.to_arrow()
        if part not in writers:
            writers[part] = pa.ipc.new_stream(str(folder / f"{part:05d}.arrows"), table.schema)
        writers[part].write_table(table)


def _split(lines: pl.DataFrame, parts: int) -> dict[int, pl.DataFrame]:
    grouped = lines.with_columns(part=pl.col("key") % parts).partition_by("part", as_dict=True, include_key=False)
    return {int(key[0]): group for key, group in grouped.items()}


def lines_of(part: int, folder: Path) -> pl.DataFrame | None:
    """All lines of a partition, from every piece; None where there are none."""
    files = sorted(folder.glob(f"[0-9]*/{part:05d}.arrows"))
    frames = []
    for file in files:
        with pa.ipc.open_stream(str(file)) as stream:
            found = pl.from_arrow(stream.read_all())
            assert isinstance(found, pl.DataFrame)
            frames.append(found)
    return pl.concat(frames) if frames else None
