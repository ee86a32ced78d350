"""A choice of bundles: its objectives and constraints, for many choices at once.

Shapes: C candidates, P choices (a population), M objectives, L items of the largest bundle, W words of 64 baskets.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from discovery.bundles.candidates import NO_ITEM, Members

Values = npt.NDArray[np.float64]
Choices = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Portfolio:
    """The problem: which candidates to choose.

    Attributes:
        values: float64 (C, M), of each candidate.
        maximise: whether more is better, of each objective.
        additive: whether a choice's value is the sum; else the share of baskets that hold any of it.
        members: int32 (C, L), filled up with ``NO_ITEM``.
        holding: uint64 (C, W), which baskets hold each; used where an objective is not additive.
        baskets: that ``holding`` covers.
        most: bundles of a choice.
        least: fewest bundles.
        item_at_most: bundles that an item is in.
        spend: float64 (C,), what the budget is spent on.
        budget: None where there is none.
        weights: float64 (M,), how much each objective counts when one choice is made; None for all alike.
    """

    values: Values
    maximise: tuple[bool, ...]
    additive: tuple[bool, ...]
    members: Members
    holding: npt.NDArray[np.uint64]
    baskets: int
    most: int
    item_at_most: int
    spend: Values
    least: int = 1
    budget: float | None = None
    weights: Values | None = None

    def __len__(self) -> int:
        """Candidates."""
        return len(self.values)

    @cached_property
    def signs(self) -> Values:
        """1 where more is better, else -1; float64 (M,)."""
        return np.where(self.maximise, 1.0, -1.0)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """int64 (C, L), number of each member among the items of all candidates; their count where there is none."""
        items = np.unique(self.members[self.members != NO_ITEM])
        return np.where(self.members == NO_ITEM, len(items), np.searchsorted(items, self.members))

    @cached_property
    def num_places(self) -> int:
        """Items of all candidates."""
        return int(np.unique(self.members[self.members != NO_ITEM]).size)

    def evaluate(self, choices: Choices) -> Values:
        """Objectives of choices, in their own units and signs; float64 (P, M)."""
        found = choices.astype(np.float64) @ self.values
        for column, additive in enumerate(self.additive):
            if not additive:
                found[:, column] = self.reach(choices)
        return found

    def reach(self, choices: Choices) -> Values:
        """Share of baskets that hold any chosen bundle, float64 (P,)."""
        rows, columns = chosen_columns(choices)
        held = np.zeros((len(choices), self.holding.shape[1]), np.uint64)
        bits = np.concatenate([self.holding, np.zeros((1, self.holding.shape[1]), np.uint64)])
        for column in columns.T:
            held |= bits[column]
        assert len(rows) == len(choices)
        share: Values = np.bitwise_count(held).sum(axis=1, dtype=np.int64) / max(self.baskets, 1)
        return share

    def repair(self, choices: Choices, priority: Values) -> Choices:
        """Take bundles out until every constraint but ``least`` holds: the highest priority is taken first.

        Args:
            choices: bool (P, C).
            priority: float64 (P, C), in [0, 1).
        """
        chosen = choices.sum(axis=1)
        order = np.argsort(-(choices * (1.0 + priority)), axis=1, kind="stable")[
            :, : max(int(chosen.max(initial=0)), 1)
        ]
        kept = np.zeros_like(choices)
        used = np.zeros((len(choices), self.num_places + 1), np.int32)
        number, spent = np.zeros(len(choices), np.int64), np.zeros(len(choices))
        row = np.arange(len(choices))
        budget = np.inf if self.budget is None else self.budget + 1e-9
        for step, column in enumerate(order.T):
            items = self.places[column]
            free = used[row[:, None], items] < self.item_at_most
            fits = (free | (items == self.num_places)).all(axis=1)
            fits &= (step < chosen) & (number < self.most) & (spent + self.spend[column] <= budget)
            kept[row[fits], column[fits]] = True
            used[row[:, None], items] += fits[:, None]
            number += fits
            spent += np.where(fits, self.spend[column], 0.0)
        return kept

    def greedy(self, weights_PM: Values) -> Choices:
        """For each row of weights, the choice that takes the best candidate that still fits, one after another.

        What is not additive counts with what a candidate adds to the baskets held so far.

        Args:
            weights_PM: float64 (P, M), of objectives in units of ``scale``; not negative.

        Returns:
            bool (P, C).
        """
        signed = self.values * self.signs / self.scale
        kept = np.zeros((len(weights_PM), len(self)), bool)
        for number, weights in enumerate(weights_PM):
            kept[number] = self._greedy(signed, weights)
        return kept

    def _greedy(self, signed: Values, weights: Values) -> Choices:
        base = signed[:, list(self.additive)] @ weights[list(self.additive)]
        union = [column for column, additive in enumerate(self.additive) if not additive]
        left = self.holding.copy()
        alive = np.ones(len(self), bool)
        kept = np.zeros(len(self), bool)
        used = np.zeros(self.num_places + 1, np.int64)
        spent = 0.0
        for _ in range(self.most):
            worth = base.copy()
            for column in union:
                fresh = np.bitwise_count(left).sum(axis=1, dtype=np.int64) / max(self.baskets, 1)
                worth += weights[column] * fresh / self.scale[column]
            alive &= (used[self.places] < self.item_at_most).all(axis=1) & ~kept
            if self.budget is not None:
                alive &= spent + self.spend <= self.budget + 1e-9
            if not alive.any():
                break
            best = int(np.argmax(np.where(alive, worth, -np.inf)))
            if worth[best] <= 0 and kept.sum() >= self.least:
                break
            kept[best] = True
            used[self.places[best]] += 1
            used[self.num_places] = 0
            spent += float(self.spend[best])
            if union:
                left &= ~left[best]
        return kept

    @cached_property
    def scale(self) -> Values:
        """What makes objectives comparable: the sum of each over its ``most`` largest candidates; float64 (M,)."""
        size = np.sort(np.abs(self.values), axis=0)[::-1][: self.most].sum(axis=0)
        return np.where(size > 0, size, 1.0)

    @cached_property
    def preference(self) -> Values:
        """Weights that sum to 1, float64 (M,)."""
        weights = np.ones(self.values.shape[1]) if self.weights is None else self.weights
        return weights / max(float(weights.sum()), 1e-12)

    def weighted(self, objectives: Values) -> Values:
        """Sum of objectives by ``preference`` in units of ``scale``, more is better; float64 (P,)."""
        total: Values = (objectives * self.signs / self.scale) @ self.preference
        return total


def chosen_columns(choices: Choices) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Numbers of the choices, and the candidates of each, int64 (P, most of any), filled up with C."""
    width = int(choices.sum(axis=1).max(initial=0))
    columns = np.full((len(choices), width), choices.shape[1], np.int64)
    row, column = np.nonzero(choices)
    first = np.searchsorted(row, np.arange(len(choices)))
    columns[row, np.arange(len(row)) - first[row]] = column
    return np.arange(len(choices)), columns
