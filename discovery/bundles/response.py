"""Own-price response: how much more is sold at a lower price, estimated from promotions, or a stated default."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from data.baskets.clean import NO_PERIOD

LEAST_ROWS = 200  # items and periods on promotion; with fewer the default stands
PRIOR = 0.5  # squared log price that an item's own estimate needs to count as much as that of all items
WITHIN = (-6.0, -0.1)  # elasticities outside are noise
SIGNIFICANT = 2.0


@dataclass(frozen=True)
class Response:
    """Elasticities of items.

    Attributes:
        elasticity: float64 (I,), below 0: percent of units for one percent of price.
        pooled: of all items; the default where promotions do not show it.
        rows: items and periods it was estimated from.
        estimated: whether it comes of the data.
    """

    elasticity: npt.NDArray[np.float64]
    pooled: float
    rows: int
    estimated: bool


def own_price_response(sales: pl.DataFrame, num_items: int, default: float) -> Response:
    """Slopes of log units over log price relative to the list price, within items, drawn towards that of all items.

    Each item is compared with itself: its mean over periods is taken out of both sides (fixed effects). Periods without
    a sale are not seen, which draws slopes towards 0; weeks in which all sells well raise both sides alike. Sales
    without a time are of no one period, and left out.

    Args:
        sales: of items and periods, columns ``data.baskets.grouping.SALES``.
        num_items: I.
        default: elasticity where no more than ``LEAST_ROWS`` rows are on promotion, or the slope is not surely below 0.
    """
    dated = sales.filter(pl.col("period") != NO_PERIOD)
    seen = dated.filter((pl.col("priced_units") > 0) & (pl.col("revenue") > 0) & (pl.col("list_revenue") > 0))
    item = seen["item"].to_numpy()
    x = np.log(seen["revenue"].to_numpy() / seen["list_revenue"].to_numpy())
    y = np.log(seen["priced_units"].to_numpy())
    promoted = int((x < -0.01).sum())
    if promoted <= LEAST_ROWS:
        return Response(np.full(num_items, default), default, promoted, False)
    x, y = _within(x, item, num_items), _within(y, item, num_items)
    total_xx, total_xy = float(x @ x), float(x @ y)
    slope = total_xy / max(total_xx, 1e-12)
    error = np.sqrt(float(((y - slope * x) ** 2).sum()) / max(len(x) - num_items, 1) / max(total_xx, 1e-12))
    if slope + SIGNIFICANT * error >= 0:
        return Response(np.full(num_items, default), default, promoted, False)
    pooled = float(np.clip(slope, *WITHIN))
    xx = np.bincount(item, x * x, num_items)
    xy = np.bincount(item, x * y, num_items)
    own = (xy + PRIOR * pooled) / (xx + PRIOR)
    return Response(np.clip(own, *WITHIN), pooled, promoted, True)


def _within(values: npt.NDArray[np.float64], item: npt.NDArray[np.int32], num_items: int) -> npt.NDArray[np.float64]:
    rows = np.maximum(np.bincount(item, minlength=num_items), 1)
    centred: npt.NDArray[np.float64] = values - (np.bincount(item, values, num_items) / rows)[item]
    return centred
