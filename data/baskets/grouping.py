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


@dataclass(frozen=True)
class Grouped:
    """What a partition gave: counts, and sums of each item by period (``SALES`` columns)."""

    counts: Counter[str]
    sales: pl.DataFrame


SALES = {
    "item": pl.Int32,
    "period": pl.Int32,
    "baskets": pl.UInt32,
    "units": pl.Float64,
    "priced_units": pl.Float64,
    "revenue": pl.Float64,
    "list_revenue": pl.Float64,
}


def group(lines: pl.DataFrame | None, part: int, max_items: int, folder: Path) -> Grouped:
    """Write ``PART.lengths.npy`` (B,), ``PART.items.npy`` (M,), ``PART.periods.npy`` (B,), int32 each.

    Items of a basket ascend. The same items in the same order come of the same lines in any order.

    Args:
        lines: of ``lines_of``.
        part: number of the partition.
        max_items: a basket with more keeps those that most baskets of this partition have.
        folder: to write to.
    """
    counts: Counter[str] = Counter()
    if lines is None:
        lines = pl.DataFrame(schema=EMPTY)
    before = lines.height
    if lines["line"].len() and lines["line"][0] != 0:
        lines = lines.unique("line", keep="first", maintain_order=True)
        counts["duplicate_lines"] = before - lines.height
    if lines["cancelled"].any():
        gone = lines.filter("cancelled")["key"].unique()
        kept = lines.filter(~pl.col("key").is_in(gone.implode()))
        counts["cancelled_baskets"], counts["cancelled_lines"] = len(gone), lines.height - kept.height
        lines = kept
    pairs = (
        lines.with_columns(_priced())
        .group_by("key", "item")
        .agg(
            pl.col("period").filter(pl.col("period") != NO_PERIOD).min().fill_null(NO_PERIOD),
            pl.col("quantity").sum().alias("units"),
            *(pl.col(name).sum() for name in ("priced_units", "revenue", "list_revenue")),
        )
        .sort("key", "item")
    )
    counts["lines_merged"] = lines.height - pairs.height
    counts["split_shipments"] = _split_shipments(lines)
    pairs, counts["baskets_cut"] = _cut(pairs, max_items)
    keys, items = pairs["key"].to_numpy(), pairs["item"].to_numpy()
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    lengths = np.diff(np.append(first, len(keys))).astype(np.int32)
    periods = _earliest(pairs["period"].to_numpy(), first)
    counts.update(baskets=len(lengths), pairs=len(items))
    for name, values in (("lengths", lengths), ("items", items.astype(np.int32)), ("periods", periods)):
        with whole_or_absent(folder / f"{part:05d}.{name}.npy") as unfinished, unfinished.open("wb") as file:
            np.save(file, values)
    timed = pairs.with_columns(period=pl.Series(np.repeat(periods, lengths)))
    sales = timed.group_by("item", "period").agg(
        pl.len().alias("baskets"), *(pl.col(name).sum() for name in list(SALES)[3:])
    )
    return Grouped(counts, sales.cast(SALES))  # type: ignore[arg-type]


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


def _priced() -> list[pl.Expr]:
    """Units and money of lines whose price is known and not 0; a free sample says nothing of a price."""
    known = pl.col("unit_price").is_not_nan() & (pl.col("unit_price") > 0)
    units = pl.when(known).then(pl.col("quantity")).otherwise(0.0).cast(pl.Float64)
    return [
        units.alias("priced_units"),
        (units * pl.col("unit_price").fill_nan(0.0)).alias("revenue"),
        (units * pl.col("list_price").fill_nan(0.0)).alias("list_revenue"),
    ]


def _split_shipments(lines: pl.DataFrame) -> int:
    if lines.is_empty() or lines["shipment"].min() == lines["shipment"].max():
        return 0
    by_basket = lines.group_by("key").agg(several=pl.col("shipment").min() != pl.col("shipment").max())
    return int(by_basket["several"].sum())


def _cut(pairs: pl.DataFrame, max_items: int) -> tuple[pl.DataFrame, int]:
    """Baskets with at most ``max_items`` items, those of most baskets kept; and how many baskets were cut."""
    sizes = pairs.group_by("key").len()
    large = sizes.filter(pl.col("len") > max_items)["key"]
    if large.is_empty():
        return pairs, 0
    popular = pairs.group_by("item").agg(pl.len().alias("popularity"))
    ranked = pairs.join(popular, "item", "left", maintain_order="left").with_columns(
        rank=pl.struct(-pl.col("popularity").cast(pl.Int64), "item").rank("ordinal").over("key")
    )
    return ranked.filter(pl.col("rank") <= max_items).select(pairs.columns), len(large)


def _earliest(periods: npt.NDArray[np.int32], first: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """The first known period of each basket."""
    if len(first) == 0:
        return np.empty(0, np.int32)
    known = np.where(periods == NO_PERIOD, np.iinfo(np.int32).max, periods)
    least = np.minimum.reduceat(known, first)
    return np.where(least == np.iinfo(np.int32).max, NO_PERIOD, least).astype(np.int32)
