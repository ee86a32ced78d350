"""Lines of one partition to baskets: duplicates out, lines of one item in one, baskets in compressed rows.

Shapes: B baskets, M pairs of basket and item.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from data.baskets.clean import NO_PERIOD
from data.files import whole_or_absent

SALES = {
    "item": pl.Int32,
    "period": pl.Int32,
    "baskets": pl.UInt32,
    "units": pl.Float64,
    "priced_units": pl.Float64,
    "revenue": pl.Float64,
    "list_revenue": pl.Float64,
}
EMPTY = {
    "key": pl.UInt64,
    "item": pl.Int32,
    "quantity": pl.Float32,
    "unit_price": pl.Float32,
    "list_price": pl.Float32,
    "period": pl.Int32,
    "cancelled": pl.Boolean,
    "line": pl.UInt64,
    "shipment": pl.UInt64,
}

Amounts = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grouped:
    """What a partition gave.

    Attributes:
        counts: of baskets, pairs, and what rules did.
        codes: int64 (n,), item and period of each row of sales, ascending.
        sums: float64 (n, 5), the columns of ``SALES`` behind them.
    """

    counts: Counter[str]
    codes: Codes
    sums: Amounts


def group(lines: pl.DataFrame | None, part: int, max_items: int, folder: Path) -> Grouped:
    """Write ``PART.lengths.npy`` (B,), ``PART.items.npy`` (M,), ``PART.periods.npy`` (B,), int32 each.

    Items of a basket ascend; baskets are in the order of their hashes.

    Args:
        lines: of ``lines_of``.
        part: number of the partition.
        max_items: a basket with more keeps those that most baskets of this partition have.
        folder: to write to.
    """
    counts: Counter[str] = Counter()
    kept = _by_rules(pl.DataFrame(schema=EMPTY) if lines is None else lines, counts)
    number, count = _numbered(kept["key"].to_numpy())
    basket, item, amounts = _pairs(kept, number)
    counts["lines_merged"] = kept.height - len(item)
    counts["split_shipments"] = _split_shipments(kept)
    basket_periods = _periods(kept["period"].to_numpy(), number, count)
    basket, item, amounts, counts["baskets_cut"] = _cut(basket, item, amounts, max_items)
    lengths = np.bincount(basket, minlength=len(basket_periods)).astype(np.int32)
    counts.update(baskets=len(lengths), pairs=len(item))
    for name, values in (("lengths", lengths), ("items", item.astype(np.int32)), ("periods", basket_periods)):
        with whole_or_absent(folder / f"{part:05d}.{name}.npy") as unfinished, unfinished.open("wb") as file:
            np.save(file, values)
    sums = np.concatenate([np.ones((len(item), 1)), amounts], axis=1)
    return Grouped(counts, *summed(sales_codes(item, basket_periods[basket]), sums))


def sales_codes(item: npt.NDArray[np.integer], period: npt.NDArray[np.int32]) -> Codes:
    """One number for an item and a period, int64: they compare like the two."""
    codes: Codes = (item.astype(np.int64) << 32) + (period.astype(np.int64) - NO_PERIOD)
    return codes


def summed(codes: Codes, sums: Amounts) -> tuple[Codes, Amounts]:
    """Each code once, ascending, with the sums of its rows."""
    if len(codes) == 0:
        return codes, sums
    order = np.argsort(codes)
    ascending, rows = codes[order], sums[order]
    new = np.concatenate([[True], ascending[1:] != ascending[:-1]])
    if new.all():
        return ascending, rows
    place = np.cumsum(new) - 1
    return ascending[new], np.stack([np.bincount(place, column) for column in rows.T], axis=1)


class Sales:
    """Sums over partitions; memory is that of at most twice the items and periods there are."""

    def __init__(self) -> None:
        self._parts: list[tuple[Codes, Amounts]] = []
        self._settled = 0

    def add(self, codes: Codes, sums: Amounts) -> None:
        """Take in a partition's."""
        self._parts.append((codes, sums))
        if sum(len(of) for of, _ in self._parts) > max(2 * self._settled, 1 << 16):
            self._settle()

    def _settle(self) -> None:
        codes = np.concatenate([np.empty(0, np.int64), *(codes for codes, _ in self._parts)])
        sums = np.concatenate([np.empty((0, len(SALES) - 2)), *(sums for _, sums in self._parts)])
        self._parts = [summed(codes, sums)]
        self._settled = len(self._parts[0][0])

    def table(self) -> pl.DataFrame:
        """Rows of ``SALES``, by item and period."""
        self._settle()
        codes, sums = self._parts[0]
        amounts = {name: sums[:, n] for n, name in enumerate(list(SALES)[2:])}
        table = pl.DataFrame({"item": codes >> 32, "period": (codes & 0xFFFFFFFF) + NO_PERIOD, **amounts})
        return table.cast(SALES)  # type: ignore[arg-type]


def _by_rules(lines: pl.DataFrame, counts: Counter[str]) -> pl.DataFrame:
    """Lines without duplicates and cancelled orders."""
    if lines.height and lines["line"][0] != 0:
        unique = lines.unique("line", keep="first", maintain_order=True)
        counts["duplicate_lines"] = lines.height - unique.height
        lines = unique
    if lines["cancelled"].any():
        gone = lines.filter("cancelled")["key"].unique()
        kept = lines.filter(~pl.col("key").is_in(gone.implode()))
        counts["cancelled_baskets"], counts["cancelled_lines"] = len(gone), lines.height - kept.height
        lines = kept
    return lines


def _numbered(keys: npt.NDArray[np.uint64]) -> tuple[Codes, int]:
    """The number of each line's basket in the order of their hashes, int64; and how many baskets there are."""
    order = np.argsort(keys)
    ascending = keys[order]
    number = np.empty(len(keys), np.int64)
    number[order] = np.cumsum(np.concatenate([[0], ascending[1:] != ascending[:-1]])[: len(keys)])
    return number, int(number.max(initial=-1)) + 1


def _pairs(lines: pl.DataFrame, number: Codes) -> tuple[Codes, Codes, Amounts]:
    """Each basket and item once, ascending: numbers of both, int64 (M,), and units and money, float64 (M, 4).

    A price that is unknown or 0, that of a free sample, says nothing of what an item costs.
    """
    item = lines["item"].to_numpy().astype(np.int64)
    units, paid, listed = (lines[name].to_numpy().astype(np.float64) for name in list(EMPTY)[2:5])
    priced = np.where(paid > 0, units, 0.0)  # NaN is not above 0
    money = np.stack([units, priced, priced * np.nan_to_num(paid), priced * np.nan_to_num(listed)], axis=1)
    codes, sums = summed((number << 32) + item, money)
    return codes >> 32, codes & 0xFFFFFFFF, sums


def _periods(period: npt.NDArray[np.int32], number: Codes, baskets: int) -> npt.NDArray[np.int32]:
    """The first known period of each basket, int32 (B,)."""
    unknown = np.iinfo(np.int32).max
    first = np.full(baskets, unknown, np.int32)
    np.minimum.at(first, number, np.where(period == NO_PERIOD, unknown, period))
    return np.where(first == unknown, NO_PERIOD, first)


def _split_shipments(lines: pl.DataFrame) -> int:
    if lines.is_empty() or lines["shipment"].min() == lines["shipment"].max():
        return 0
    by_basket = lines.group_by("key").agg(several=pl.col("shipment").min() != pl.col("shipment").max())
    return int(by_basket["several"].sum())


def _cut(basket: Codes, item: Codes, amounts: Amounts, max_items: int) -> tuple[Codes, Codes, Amounts, int]:
    """Pairs of baskets with at most ``max_items`` items, those of most baskets kept; and how many baskets were cut."""
    lengths = np.bincount(basket)
    large = int((lengths > max_items).sum())
    if not large:
        return basket, item, amounts, 0
    popularity = np.bincount(item)[item]
    order = np.lexsort((item, -popularity, basket))
    rank = np.empty(len(basket), np.int64)
    rank[order] = np.arange(len(basket)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = rank < max_items
    return basket[kept], item[kept], amounts[kept], large
