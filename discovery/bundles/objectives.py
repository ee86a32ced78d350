"""What a bundle is worth, each an array over all candidates; what is loaded once is in ``Batch``.

Shapes: C candidates, L items of the largest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.baskets.table import Market
from data.errors import InputError, in_one_line
from data.imports import load
from discovery.bundles.candidates import NO_ITEM, Members
from discovery.bundles.config import MONEY, BundlesConfig, ObjectiveConfig
from discovery.bundles.evidence import Evidence
from discovery.bundles.prices import Offers

Values = npt.NDArray[np.float64]
COVER_PERIODS = 4.0  # periods that the stock of an item should last


@dataclass(frozen=True)
class Batch:
    """Candidates with all that objectives read.

    Attributes:
        members: int32 (C, L), filled up with ``NO_ITEM``.
        evidence: counts.
        offers: prices and what is expected of them.
        market: items; ``stock`` and ``units`` are in units.
        periods: that the evidence covers.
    """

    members: Members
    evidence: Evidence
    offers: Offers
    market: Market
    periods: int


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        name: in results.
        value: of each candidate of a batch, float64 (C,).
        unit: of a value.
        maximise: whether more is better.
        additive: whether a portfolio's value is the sum of its bundles'; else it is that of their union of baskets.
    """

    name: str
    value: Callable[[Batch], Values]
    unit: str
    maximise: bool = True
    additive: bool = True


def reach(batch: Batch) -> Values:
    """Baskets that hold the bundle, as a share: held / B. A portfolio's is the share that hold any of its bundles."""
    share: Values = batch.evidence.held / max(batch.evidence.baskets, 1)
    return share


def lift(batch: Batch) -> Values:
    """Logarithm of the shrunken lift: ln((held + s) / (expected + s))."""
    logarithm: Values = np.log(np.maximum(batch.evidence.lift, 1e-9))
    return logarithm


def cross_sell(batch: Batch) -> Values:
    """Units a period that are bought because of the bundle: the sum over items of lacking * uptake(discount)."""
    units: Values = batch.offers.added.sum(axis=1)
    return units


def revenue(batch: Batch) -> Values:
    """Money a period that is taken for the bundle: (whole + added) * price."""
    taken: Values = (batch.offers.whole + batch.offers.added.sum(axis=1)) * batch.offers.price
    return taken


def margin(batch: Batch) -> Values:
    """Margin a period above that without the bundle: added * (paid more - cost) - whole * discount."""
    return batch.offers.gain


def cannibalisation(batch: Batch) -> Values:
    """Money a period that is given away on what is sold anyhow: whole * (list price - price)."""
    return batch.offers.given


def stock_risk(batch: Batch) -> Values:
    """Periods by which the scarcest item falls short of ``COVER_PERIODS``: max(0, 4 - stock / units sold a period).

    Units are those sold anyhow and those that the bundle adds; an item of unknown stock falls short of nothing.
    """
    there = batch.members != NO_ITEM
    sold = batch.market.units[batch.members] / batch.market.num_periods + batch.offers.added
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = batch.market.stock[batch.members] / sold
    short = np.where(there & np.isfinite(cover), np.maximum(0.0, COVER_PERIODS - cover), 0.0)
    worst: Values = short.max(axis=1)
    return worst


BUILT_IN = {
    "reach": Objective("reach", reach, "share of baskets", additive=False),
    "lift": Objective("lift", lift, "ln(lift), summed"),
    "cross_sell": Objective("cross_sell", cross_sell, "units a period"),
    "stock_risk": Objective("stock_risk", stock_risk, "periods short, summed", maximise=False),
    "revenue": Objective("revenue", revenue, "currency a period"),
    "margin": Objective("margin", margin, "currency a period"),
    "cannibalisation": Objective("cannibalisation", cannibalisation, "currency a period", maximise=False),
}


def objectives_of(config: BundlesConfig, has_prices: bool) -> list[Objective]:
    """The objectives of a run.

    Raises:
        InputError: if one needs prices and there are none, or a path cannot be imported.
    """
    if config.objectives is None:
        return [BUILT_IN[name] for name in ("reach", "cross_sell", "margin" if has_prices else "lift")]
    for named in config.objectives:
        if named in MONEY and not has_prices:
            raise InputError(
                f"bundles.objectives: {named} needs prices, and no item has one",
                "Map a price of order lines or products (baskets.orders.unit_price), or name reach, lift, cross_sell.",
            )
    return [BUILT_IN[named] if isinstance(named, str) else _of_user(named) for named in config.objectives]


def _of_user(named: ObjectiveConfig) -> Objective:
    function = load("bundles.objectives.path", named.path)
    return Objective(named.name, function, "the user's", named.maximise)


def values_of(objectives: Sequence[Objective], batch: Batch) -> Values:
    """Every objective of every candidate, float64 (C, len(objectives)).

    Raises:
        InputError: if one fails, or does not return a finite value a candidate.
    """
    columns = []
    for objective in objectives:
        try:
            values = np.asarray(objective.value(batch), np.float64)
        except Exception as error:
            raise InputError(f"objective {objective.name}: {in_one_line(error)}", "Correct the function.") from error
        if values.shape != (len(batch.members),) or not np.isfinite(values).all():
            raise InputError(
                f"objective {objective.name} returned shape {values.shape}, "
                f"{int((~np.isfinite(values)).sum())} values not finite; wanted {len(batch.members)} finite values",
                "Correct the function.",
            )
        columns.append(values)
    return np.stack(columns, axis=1)
