"""The exact optimum of a weighted sum by an integer programme (HiGHS), and which constraints can be kept at all.

The programme is linear: a choice's reach counts each basket once for every bundle, an upper bound; the reported
distance compares linear values with linear values.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, milp

from data.errors import InputError
from discovery.bundles.portfolio import Choices, Portfolio, Values

TIME_LIMIT_S = 10.0
Constraint = Literal["bundles", "item_at_most", "budget"]


@dataclass(frozen=True)
class Optimum:
    """An optimal choice.

    Attributes:
        choice: bool (C,).
        value: of the objective that was maximised.
        proven: whether the time was enough to prove it.
    """

    choice: Choices
    value: float
    proven: bool


def solve(portfolio: Portfolio, worth: Values) -> Optimum | None:
    """The choice of the largest sum of ``worth``, float64 (C,); None where no choice keeps the constraints."""
    return _solve(portfolio, worth, portfolio.least, portfolio.budget)


def _solve(portfolio: Portfolio, worth: Values, least: int, budget: float | None) -> Optimum | None:
    count = len(portfolio)
    if count == 0:
        return None
    rows, places = np.repeat(np.arange(count), portfolio.places.shape[1]), portfolio.places.ravel()
    there = places < portfolio.num_places
    uses = sp.csr_array((np.ones(int(there.sum())), (places[there], rows[there])), shape=(portfolio.num_places, count))
    constraints = [
        LinearConstraint(uses, ub=portfolio.item_at_most),
        LinearConstraint(sp.csr_array(np.ones((1, count))), least, portfolio.most),
    ]
    if budget is not None:
        constraints.append(LinearConstraint(sp.csr_array(portfolio.spend[None]), ub=budget))
    found = milp(
        -worth,
        integrality=np.ones(count, np.int64),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"time_limit": TIME_LIMIT_S},
    )
    if found.x is None:
        return None
    choice = found.x > 0.5
    return Optimum(choice, float(worth[choice].sum()), found.status == 0)


def check_feasible(portfolio: Portfolio) -> None:
    """Refuse constraints that no choice keeps; names the one to change and the nearest value that can be kept.

    Raises:
        InputError: if there is none.
    """
    if len(portfolio) and _solve(portfolio, np.zeros(len(portfolio)), portfolio.least, portfolio.budget) is not None:
        return
    wanted = f"bundles.constraints.at_least {portfolio.least}"
    if len(portfolio) == 0:
        raise InputError(
            "no candidate keeps the constraints on single bundles (sizes, categories, stock, margin floor)",
            "Loosen bundles.constraints or bundles.prices; the result names how many each left out.",
        )
    if portfolio.budget is not None:
        cheapest = _solve(portfolio, -portfolio.spend, portfolio.least, None)
        if cheapest is not None:
            raise InputError(
                f"{wanted} cannot be kept with bundles.constraints.budget {portfolio.budget:g}; "
                f"the nearest feasible budget is {np.ceil(-cheapest.value * 100) / 100:g}",
                "Raise the budget, or ask for fewer bundles.",
            )
    most = _solve(portfolio, np.ones(len(portfolio)), 0, portfolio.budget)
    number = 0 if most is None else int(most.choice.sum())
    raise InputError(
        f"{wanted} cannot be kept with item_at_most {portfolio.item_at_most} and {len(portfolio)} candidates; "
        f"the nearest feasible at_least is {number}",
        "Lower at_least, raise item_at_most, or allow more candidates (bundles.candidates, bundles.min_baskets).",
    )
