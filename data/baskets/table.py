"""Baskets in memory: the items of each as compressed rows, and what is known of the items.

Shapes: B baskets, I items, M pairs of basket and item.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.sparse as sp

from data.baskets.clean import NO_PERIOD
from data.baskets.items import ITEM_COLUMNS

Numbers = npt.NDArray[np.int32]
Amounts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Baskets:
    """Baskets by number.

    Attributes:
        indptr: int64 (B + 1,), where the items of each basket begin in ``items``.
        items: int32 (M,), item numbers, ascending and each once within a basket.
        num_items: I.
    """

    indptr: npt.NDArray[np.int64]
    items: Numbers
    num_items: int

    @classmethod
    def of_lists(cls, baskets: Sequence[Sequence[int]], num_items: int | None = None) -> "Baskets":
        """Of lists of item numbers, in any order and with repetitions."""
        rows = [np.unique(np.asarray(basket, np.int32)) for basket in baskets]
        items = np.concatenate([np.empty(0, np.int32), *rows])
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        count = num_items if num_items is not None else int(items.max(initial=-1)) + 1
        return cls(indptr.astype(np.int64), items, count)

    @classmethod
    def of_pairs(cls, basket: npt.NDArray[np.int64], item: Numbers, num_items: int) -> "Baskets":
        """Of pairs of basket and item numbers, in any order and with repetitions; baskets are numbered anew."""
        codes = np.unique(basket.astype(np.int64) * num_items + item)
        rows = codes // max(num_items, 1)
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])[: len(rows)])
        return cls(
            np.append(first, len(rows)).astype(np.int64), (codes % max(num_items, 1)).astype(np.int32), num_items
        )

    def __len__(self) -> int:
        """Baskets."""
        return len(self.indptr) - 1

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64 (B,), items of each basket."""
        return np.diff(self.indptr)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """int64 (I,), baskets that hold each item."""
        return np.bincount(self.items, minlength=self.num_items).astype(np.int64)

    def matrix(self) -> sp.csr_array:
        """float32 (B, I), 1 where a basket holds an item."""
        ones = np.ones(len(self.items), np.float32)
        return sp.csr_array((ones, self.items, self.indptr), shape=(len(self), self.num_items))

    def select(self, rows: npt.NDArray[np.bool_]) -> "Baskets":
        """The baskets that are flagged, bool (B,)."""
        lengths = self.lengths[rows]
        kept = self.items[np.repeat(rows, self.lengths)]
        return Baskets(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), kept, self.num_items)

    def bits(self, items: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
        """Which baskets hold each of the items: uint64 (len(items), ceil(B / 64)), a bit a basket."""
        words = (len(self) + 63) // 64
        place = np.full(self.num_items, -1, np.int64)
        place[items] = np.arange(len(items))
        rows = np.repeat(np.arange(len(self)), self.lengths)
        row_of = place[self.items]
        wanted = row_of >= 0
        rows, row_of = rows[wanted], row_of[wanted]
        flat = np.zeros(len(items) * words, np.uint64)
        order = np.argsort(row_of, kind="stable")  # then the words of an item ascend
        code = row_of[order] * words + (rows[order] >> 6)
        bit = np.left_shift(np.uint64(1), (rows[order] & 63).astype(np.uint64))
        if len(code):
            first = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
            flat[code[first]] = np.bitwise_or.reduceat(bit, first)
        return flat.reshape(len(items), words)


@dataclass(frozen=True)
class Market:
    """Baskets with what is known of their items.

    Attributes:
        baskets: all of them.
        periods: int32 (B,), the week or other period of each basket; ``NO_PERIOD`` where its time is not known.
        ids: of items.
        names: of items.
        categories: path of each item, the widest first; may be empty.
        price: float64 (I,), list price of a unit in the currency of the orders; NaN where unknown.
        cost: float64 (I,), NaN where unknown.
        stock: float64 (I,), units; NaN where unknown.
        units: float64 (I,), sold in all periods.
        sales: of each item and period, columns ``SALES``.
        variants: int64 (I,), names of the products that are rolled up to each; 1 where it is one, or all are alike.
    """

    baskets: Baskets
    periods: Numbers
    ids: list[str]
    names: list[str]
    categories: list[list[str]]
    price: Amounts
    cost: Amounts
    stock: Amounts
    units: Amounts
    sales: pl.DataFrame
    variants: npt.NDArray[np.int64]

    @property
    def num_periods(self) -> int:
        """Periods from the first to the last of all baskets."""
        return count_periods(self.periods)

    @classmethod
    def open(cls, folder: Path) -> "Market":
        """Read what ``map_baskets`` wrote; the arrays are mapped into memory."""
        items = pl.read_parquet(folder / "items.parquet")
        sales = pl.read_parquet(folder / "sales.parquet")
        lengths = np.load(folder / "lengths.npy", mmap_mode="r")
        baskets = Baskets(
            np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            np.load(folder / "items.npy", mmap_mode="r"),
            items.height,
        )
        return cls.of_tables(baskets, np.load(folder / "periods.npy", mmap_mode="r"), items, sales)

    @classmethod
    def of_tables(cls, baskets: Baskets, periods: Numbers, items: pl.DataFrame, sales: pl.DataFrame) -> "Market":
        """Of baskets, the table of items and their sales; prices that the items lack are means of the sales."""
        sold = [np.zeros(items.height) for _ in range(3)]
        for total, name in zip(sold, ("units", "priced_units", "list_revenue"), strict=True):
            np.add.at(total, sales["item"].to_numpy(), sales[name].to_numpy())
        units, priced, revenue = sold
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(priced > 0, revenue / priced, np.nan)
        price, cost, stock = (_filled(items[name]) for name in ("price", "cost", "stock"))
        return cls(
            baskets,
            periods,
            items["id"].to_list(),
            items["name"].to_list(),
            items["category"].to_list(),
            np.where(np.isnan(price), mean, price),
            cost,
            stock,
            units,
            sales,
            items["variants"].to_numpy().astype(np.int64),
        )

    @classmethod
    def of_lists(cls, baskets: Sequence[Sequence[int]], names: Sequence[str], **known: Amounts) -> "Market":
        """Of lists of item numbers, for small work; ``known`` gives price, cost, stock."""
        rows = Baskets.of_lists(baskets, len(names))
        nothing = np.full(len(names), np.nan)
        amounts = {name: known.get(name, nothing) for name in ("price", "cost", "stock")}
        one: list[int] = [1] * len(names)
        table = {"id": names, "name": names, "category": [[]] * len(names), "products": one, "variants": one, **amounts}
        items = pl.DataFrame(table, schema=ITEM_COLUMNS, nan_to_null=True)
        counts = rows.counts.astype(np.float64)
        sales = pl.DataFrame({"item": np.arange(len(names), dtype=np.int32), "period": np.zeros(len(names), np.int32)})
        zero = pl.lit(0.0)
        sales = sales.with_columns(
            baskets=pl.Series(rows.counts), units=pl.Series(counts), priced_units=zero, revenue=zero, list_revenue=zero
        )
        return cls.of_tables(rows, np.zeros(len(rows), np.int32), items, sales)


def count_periods(periods: Numbers) -> int:
    """Periods from the first to the last that is known, at least 1."""
    known = periods[periods != NO_PERIOD]
    return int(known.max()) - int(known.min()) + 1 if len(known) else 1


def _filled(values: pl.Series) -> Amounts:
    found: Amounts = values.fill_null(np.nan).to_numpy()
    return found
