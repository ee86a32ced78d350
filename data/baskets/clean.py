"""One batch of order lines: which are good, which are rejected and why. All by masks over columns."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from data.baskets.columns import BASKET, ITEM
from data.baskets.config import OrderFiles
from data.baskets.items import EXCLUDED

REASONS = (
    "no basket",
    "no product",
    "unknown product",
    "quantity is not a number",
    "quantity is 0",
    "return: the quantity is below 0",
    "price is not a number",
    "price is below 0",
    "another currency",
)
DAYS_OF_PERIOD = 7
NO_PERIOD = np.iinfo(np.int32).min

Mask = npt.NDArray[np.bool_]


@dataclass
class Cleaned:
    """What became of a batch.

    Attributes:
        lines: ``key`` (uint64, hash of the basket), ``item`` (int32), ``quantity``, ``unit_price``, ``list_price``
            (float32, NaN where unknown), ``period`` (int32), ``cancelled`` (bool), ``line`` and ``shipment`` (uint64).
        rejects: ``row`` in the batch, ``reason``, ``product``.
        counts: lines that a rule left out or that are remarkable.
        currencies: lines of each.
    """

    lines: pl.DataFrame
    rejects: pl.DataFrame
    counts: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)


def clean(
    batch: pl.DataFrame,
    orders: OrderFiles,
    products: pl.DataFrame,
    currency: str | None = None,
    cancelled: tuple[str, ...] = (),
) -> Cleaned:
    """Check a batch and number its products.

    Args:
        batch: columns of ``orders``.
        orders: what they are called.
        products: of ``read_items``.
        currency: the one that is kept; all where None.
        cancelled: values of the status, lower case, of orders to leave out.
    """
    if "lists" in (orders.format or "") or (BASKET in batch.columns and orders.product not in batch.columns):
        orders = LISTED
    count = batch.height
    names = batch[orders.product].cast(pl.String)
    item = _numbers(names, products)
    quantity = _amounts(batch, orders.quantity, 1.0)
    paid, listed = _prices(batch, orders, quantity)
    has_price = (orders.unit_price or orders.total) is not None
    told = batch[orders.unit_price or orders.total or orders.product].is_not_null().to_numpy()
    bad = np.zeros((len(REASONS), count), bool)
    bad[0] = _any_null(batch, orders.basket)
    bad[1] = (names.is_null() | (names.str.strip_chars() == "")).to_numpy()
    bad[2] = item < EXCLUDED
    bad[3] = ~np.isfinite(quantity)
    bad[4] = quantity == 0
    bad[5] = quantity < 0
    bad[6] = has_price & told & ~np.isfinite(paid) & (quantity > 0)
    bad[7] = paid < 0
    currencies: Counter[str] = Counter()
    if orders.currency is not None:
        named = batch[orders.currency].cast(pl.String)
        currencies = Counter({str(name): int(n) for name, n in named.drop_nulls().value_counts().iter_rows()})
        if currency is not None:
            bad[8] = (named != currency).fill_null(False).to_numpy()
    rejected = bad.any(axis=0)
    excluded = ~rejected & (item == EXCLUDED)
    good = ~rejected & ~excluded
    lines = pl.DataFrame(
        {
            "key": _hashes(batch, orders.basket),
            "item": item.astype(np.int32),
            "quantity": quantity.astype(np.float32),
            "unit_price": paid.astype(np.float32),
            "list_price": listed.astype(np.float32),
            "period": _periods(batch, orders),
            "cancelled": _is_among(batch, orders.status, cancelled),
            "line": _hashes(batch, [*orders.basket, orders.product, orders.line] if orders.line else []),
            "shipment": _hashes(batch, [orders.shipment] if orders.shipment else []),
        }
    )
    counts = Counter(
        {
            "lines": count,
            "excluded": int(excluded.sum()),
            "without_price": int((good & np.isnan(paid)).sum()),
            "price_of_0": int((good & (paid == 0)).sum()),
        }
    )
    place = np.flatnonzero(rejected)
    reasons = np.asarray(REASONS, object)[bad[:, place].argmax(axis=0)] if len(place) else []
    rejects = pl.DataFrame(
        {"row": place, "reason": list(reasons), "product": names.gather(place)},
        schema={"row": pl.Int64, "reason": pl.String, "product": pl.String},
    )
    return Cleaned(lines.filter(pl.Series(good)) if not good.all() else lines, rejects, counts, currencies)


LISTED = OrderFiles(path="-", basket=[BASKET], product=ITEM, quantity=None)
"""Columns of files that are lists of baskets."""


def _numbers(names: pl.Series, products: pl.DataFrame) -> npt.NDArray[np.int32]:
    """Item of each product; below ``EXCLUDED`` where it is not known."""
    asked = pl.DataFrame({"product": names})
    found = asked.join(products, "product", "left", maintain_order="left")["item"]
    numbers: npt.NDArray[np.int32] = found.fill_null(EXCLUDED - 1).to_numpy()
    return numbers


def _amounts(batch: pl.DataFrame, column: str | None, default: float) -> npt.NDArray[np.float64]:
    """A column as numbers, NaN where it holds none."""
    if column is None:
        return np.full(batch.height, default)
    values: npt.NDArray[np.float64] = batch[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return values


def _prices(
    batch: pl.DataFrame, orders: OrderFiles, quantity: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Paid and list price of one unit, float64 (n,) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if orders.unit_price is not None:
            paid = _amounts(batch, orders.unit_price, np.nan)
        else:
            paid = _amounts(batch, orders.total, np.nan) / quantity
        off = sum((np.nan_to_num(_amounts(batch, column, 0.0)) for column in orders.discounts), np.zeros(batch.height))
        return paid, paid + off / quantity


def _hashes(batch: pl.DataFrame, columns: list[str]) -> pl.Series:
    """One number of 64 bits for equal values; 0 for all where no column is named."""
    if not columns:
        return pl.zeros(batch.height, pl.UInt64, eager=True)
    hashed = batch[columns[0]].hash(seed=7)
    for column in columns[1:]:
        hashed = (hashed ^ (batch[column].hash(seed=11))).hash(seed=13)
    return hashed


def _any_null(batch: pl.DataFrame, columns: list[str]) -> Mask:
    found: Mask = np.zeros(batch.height, bool)
    for column in columns:
        if batch[column].null_count():
            found |= batch[column].is_null().to_numpy()
    return found


def _is_among(batch: pl.DataFrame, column: str | None, values: tuple[str, ...]) -> pl.Series:
    if column is None or not values:
        return pl.repeat(False, batch.height, dtype=pl.Boolean, eager=True)
    return batch[column].cast(pl.String).str.to_lowercase().is_in(values).fill_null(False)


def _periods(batch: pl.DataFrame, orders: OrderFiles) -> npt.NDArray[np.int32]:
    """Number of the week, or what the column of periods says; ``NO_PERIOD`` where unknown."""
    if orders.period is not None:
        found = batch[orders.period].cast(pl.Int32, strict=False)
    elif orders.time is not None:
        moments = batch[orders.time]
        if moments.dtype == pl.String:
            moments = moments.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
        found = moments.cast(pl.Date, strict=False).cast(pl.Int32, strict=False) // DAYS_OF_PERIOD
    else:
        return np.full(batch.height, NO_PERIOD, np.int32)
    periods: npt.NDArray[np.int32] = found.fill_null(NO_PERIOD).to_numpy()
    return periods
