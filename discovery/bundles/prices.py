"""A price for each bundle: the discount of the largest expected margin, never below cost and the floor.

Shapes: C candidates, L items of the largest, D discounts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from discovery.bundles.candidates import NO_ITEM, Members
from discovery.bundles.config import PriceConfig
from discovery.bundles.evidence import Evidence

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Offers:
    """Prices of candidates and what is expected of them; money in the currency of the orders, per period.

    Attributes:
        list_sum: float64 (C,), sum of the list prices; NaN where one is unknown, as all below that need it.
        cost: sum of the costs.
        price: of the bundle.
        discount: share of ``list_sum``.
        whole: baskets of a period that hold the bundle anyhow.
        added: float64 (C, L), baskets of a period that buy this item because of the bundle.
        gain: margin of a period above that without the bundle.
        given: discount of a period on what is sold anyhow.
        allowed: bool (C,), whether the price keeps the floor; True where prices are unknown.
    """

    list_sum: Values
    cost: Values
    price: Values
    discount: Values
    whole: Values
    added: Values
    gain: Values
    given: Values
    allowed: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.integer]) -> "Offers":
        """Those rows."""
        return Offers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def costs_of(price: Values, cost: Values, config: PriceConfig) -> Values:
    """Costs of items, float64 (I,), a stated share of the list price where unknown."""
    return np.where(np.isnan(cost), price * config.cost_share, cost)


def make_offers(
    members: Members,
    evidence: Evidence,
    price: Values,
    cost: Values,
    elasticity: Values,
    periods: int,
    config: PriceConfig,
) -> Offers:
    """Try every discount of every candidate at once, its price on the ending, and keep the best.

    A basket that lacks one item takes the bundle with the chance ``uptake * confidence * (1 - d) ** elasticity``, at
    most 1: who holds the rest wants the last as baskets with the rest do, only less. Its margin rises by what it pays
    above its own items, less the cost of the one it lacked. A basket that holds all items
    anyhow pays the bundle's price, which costs the discount.

    Args:
        members: int32 (C, L).
        evidence: of them.
        price: float64 (I,), list price of a unit, NaN where unknown.
        cost: float64 (I,), as of ``costs_of``.
        elasticity: float64 (I,).
        periods: that the evidence covers.
        config: discounts, floor, uptake.
    """
    there = members != NO_ITEM
    prices_CL = np.where(there, np.maximum(np.round(price[members], 2), 0.01), 0.0)  # in whole cents, as on a label
    costs_CL = np.where(there, cost[members], 0.0)
    list_sum, cost_sum = prices_CL.sum(axis=1), costs_CL.sum(axis=1)
    known = np.isfinite(list_sum)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(known, (prices_CL * np.where(there, elasticity[members], 0.0)).sum(axis=1) / list_sum, np.nan)
    slope = np.where(np.isfinite(slope), slope, config.response)
    floor = cost_sum / (1 - config.margin_floor)
    discounts = np.arange(config.min_discount, config.max_discount + 1e-9, config.step)
    prices_CD = np.stack([_ended(list_sum * (1 - d), floor, list_sum, config) for d in discounts], axis=1)
    if config.min_discount == 0:
        prices_CD[:, 0] = list_sum  # no offer at all competes with those that an ending allows
    whole, lacking = evidence.held / periods, evidence.lacking / periods
    chance = config.uptake * evidence.confidence
    gains_CD = np.stack(
        [_gain(price_C, list_sum, prices_CL, costs_CL, whole, lacking, chance, slope) for price_C in prices_CD.T], 1
    )
    most = list_sum * (1 - config.min_discount) + 0.005  # in whole cents
    within = (prices_CD >= floor[:, None] - 1e-9) & (prices_CD <= most[:, None])
    gains_CD = np.where(within, gains_CD, -np.inf)
    best = gains_CD.argmax(axis=1)
    allowed = ~known | np.isfinite(gains_CD.max(axis=1))
    chosen = prices_CD[np.arange(len(members)), best]
    with np.errstate(divide="ignore", invalid="ignore"):
        discount = 1 - chosen / list_sum
    added = lacking * _uptake(chance, np.where(known, discount, config.min_discount), slope)
    return Offers(
        list_sum,
        cost_sum,
        chosen,
        discount,
        whole,
        added,
        _gain(chosen, list_sum, prices_CL, costs_CL, whole, lacking, chance, slope),
        whole * (list_sum - chosen),
        allowed,
    )


def _uptake(chance: Values, discount: Values, slope: Values) -> Values:
    response = np.maximum(1 - discount, 1e-6) ** slope
    return np.minimum(chance * response[:, None], 1.0)


def _gain(
    price_C: Values,
    list_sum: Values,
    prices_CL: Values,
    costs_CL: Values,
    whole: Values,
    lacking: Values,
    chance: Values,
    slope: Values,
) -> Values:
    """Margin of a period above that without the bundle, float64 (C,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        uptake = _uptake(chance, 1 - price_C / list_sum, slope)
    off = (list_sum - price_C)[:, None]
    per_basket = prices_CL - off - costs_CL
    gain: Values = (lacking * uptake * per_basket).sum(axis=1) - whole * off[:, 0]
    return gain


def _ended(price: Values, floor: Values, list_sum: Values, config: PriceConfig) -> Values:
    """Prices in whole cents, on the ending where the floor and the largest discount allow it."""
    least = np.maximum(floor, list_sum * (1 - config.max_discount))
    cents = np.maximum(np.round(price, 2), np.ceil(least * 100 - 1e-6) / 100)
    if config.ending is None:
        return cents
    most = list_sum * (1 - config.min_discount)
    below = np.floor(cents - config.ending + 1e-9) + config.ending
    ended = np.where(below >= least - 1e-9, below, below + 1)
    return np.where((ended >= least - 1e-9) & (ended <= most + 1e-9), ended, cents)
