"""One batch of order lines: which are good, which are rejected and why. All by masks over columns."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from data.baskets.columns import BASKET, ITEM
from data.baskets.config import OrderFiles
from data.baskets.items import EXCLUDED
from data.sources.cells import MISSING_WORDS

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
    "discount is not a number",
    "time is not a time (YYYY-MM-DD first)",
    "time is before 1971 or over a year ahead",
    "period is not a whole number",
)
DAYS_OF_PERIOD = 7
NO_PERIOD = np.iinfo(np.int32).min
"""Of a line or a basket without a time: in no count, range or mean of periods."""
FIRST_DAY, DAYS_AHEAD = 365, 366  # since 1970, and from today: times outside are placeholders such as 9999-12-31
EMPTY_WORDS = [*MISSING_WORDS, "na", "n/a", "#n/a"]  # where a number or a time is meant, as CSV has them

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
    price = orders.unit_price or orders.total
    period, not_a_time, implausible, not_whole = _periods(batch, orders)
    bad = np.zeros((len(REASONS), count), bool)
    bad[0] = _any_blank(batch, orders.basket)
    bad[1] = (names.is_null() | (names.str.strip_chars() == "")).to_numpy()
    bad[2] = item < EXCLUDED
    bad[3] = ~np.isfinite(quantity)
    bad[4] = quantity == 0
    bad[5] = quantity < 0
    if price is not None:
        bad[6] = _unreadable(batch[price], np.isfinite(paid) & np.isfinite(listed)) & (quantity > 0)
    bad[7] = paid < 0
    currencies: Counter[str] = Counter()
    if orders.currency is not None:
        named = batch[orders.currency].cast(pl.String)
        currencies = Counter({str(name): int(n) for name, n in named.drop_nulls().value_counts().iter_rows()})
        if currency is not None:
            bad[8] = (named != currency).fill_null(False).to_numpy()
    for column in orders.discounts:
        bad[9] |= _unreadable(batch[column], np.isfinite(_amounts(batch, column, 0.0)))
    bad[10], bad[11], bad[12] = not_a_time, implausible, not_whole
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
            "period": period,
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
            "without_time": int((good & (period == NO_PERIOD)).sum()) if orders.period or orders.time else 0,
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
    """A column as numbers, NaN where it holds none, or none that float32, as lines are kept, can hold."""
    if column is None:
        return np.full(batch.height, default)
    return _held(batch[column].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())


def _prices(
    batch: pl.DataFrame, orders: OrderFiles, quantity: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Paid and list price of one unit, float64 (n,) each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if orders.unit_price is not None:
            paid = _amounts(batch, orders.unit_price, np.nan)
        else:
            paid = _amounts(batch, orders.total, np.nan) / quantity
        each = (_amounts(batch, column, 0.0) for column in orders.discounts)
        off = sum((np.nan_to_num(amount) for amount in each), np.zeros(batch.height))
        return _held(paid), _held(paid + off / quantity)


def _held(amounts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.abs(amounts) <= np.finfo(np.float32).max, amounts, np.nan)


def _unreadable(cells: pl.Series, read: Mask) -> Mask:
    """Which cells hold something that could not be read; what is empty is no fault."""
    found: Mask = ~read & cells.is_not_null().to_numpy()
    place = np.flatnonzero(found)
    unread = cells.gather(place)
    if unread.dtype.is_float():
        found[place] = unread.is_not_nan().to_numpy()
    elif unread.dtype in (pl.String, pl.Categorical, pl.Enum):
        words = unread.cast(pl.String).str.strip_chars().str.to_lowercase()
        found[place] = ~words.is_in(EMPTY_WORDS).to_numpy()
    return found


def _hashes(batch: pl.DataFrame, columns: list[str]) -> pl.Series:
    """One number of 64 bits for equal values; 0 for all where no column is named."""
    if not columns:
        return pl.zeros(batch.height, pl.UInt64, eager=True)
    hashed = batch[columns[0]].hash(seed=7)
    for column in columns[1:]:
        hashed = (hashed ^ (batch[column].hash(seed=11))).hash(seed=13)
    return hashed


def _any_blank(batch: pl.DataFrame, columns: list[str]) -> Mask:
    found: Mask = np.zeros(batch.height, bool)
    for column in columns:
        cells = batch[column]
        if cells.null_count():
            found |= cells.is_null().to_numpy()
        if cells.dtype == pl.String:
            found |= (cells.str.strip_chars() == "").fill_null(True).to_numpy()
    return found


def _is_among(batch: pl.DataFrame, column: str | None, values: tuple[str, ...]) -> pl.Series:
    if column is None or not values:
        return pl.repeat(False, batch.height, dtype=pl.Boolean, eager=True)
    return batch[column].cast(pl.String).str.to_lowercase().is_in(values).fill_null(False)


def _periods(batch: pl.DataFrame, orders: OrderFiles) -> tuple[npt.NDArray[np.int32], Mask, Mask, Mask]:
    """Number of the week, or what the column of periods says; ``NO_PERIOD`` where there is none.

    Returns:
        int32 (n,), and which lines to reject: of a time that is none, of one that is a placeholder, of a period that
        is no whole number.
    """
    none = np.zeros(batch.height, bool)
    if orders.period is not None:
        numbers = _amounts(batch, orders.period, np.nan)
        read = np.isfinite(numbers) & (np.abs(numbers) < -NO_PERIOD) & (numbers == np.floor(numbers))
        periods = np.where(read, numbers, NO_PERIOD).astype(np.int32)
        return periods, none, none, _unreadable(batch[orders.period], read)
    if orders.time is None:
        return np.full(batch.height, NO_PERIOD, np.int32), none, none, none
    days = _days(batch[orders.time])
    read = np.isfinite(days)
    today = (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(days=1)
    plausible = (days >= FIRST_DAY) & (days <= today + DAYS_AHEAD)  # NaN is neither
    periods = np.where(plausible, days // DAYS_OF_PERIOD, NO_PERIOD).astype(np.int32)
    return periods, _unreadable(batch[orders.time], read), read & ~plausible, none


def _days(moments: pl.Series) -> npt.NDArray[np.float64]:
    """Days since 1970 of a column of times, float64 (n,); NaN where a cell is none, and of a column of numbers."""
    if moments.dtype in (pl.String, pl.Categorical, pl.Enum):
        written = moments.cast(pl.String).str.strip_chars().str.slice(0, 10)
        moments = written.str.to_date("%Y-%m-%d", strict=False)
    elif moments.dtype not in (pl.Date, pl.Datetime):
        return np.full(len(moments), np.nan)
    days: npt.NDArray[np.float64] = moments.cast(pl.Date).cast(pl.Int32).cast(pl.Float64).fill_null(np.nan).to_numpy()
    return days
