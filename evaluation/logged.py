"""The log of a policy that was served, and why no estimate may be made of it.

Shapes: Q rounds, K candidates of a round at most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]

Reason = Literal[
    "too_few", "not_shown", "reward", "missing", "not_positive", "above_one", "sum", "target", "effective", "weights"
]

SUM_WITHIN = 1e-3  # of 1: logs keep few digits
LEAST_ROUNDS = 100
FAR = 5.0  # standard errors that the mean weight may be from 1
LEAST_EFFECTIVE = 30.0  # of which the normal approximation behind intervals is usually taken to hold


@dataclass(frozen=True)
class Log:
    """Rounds as they were served: in each, candidates were shown, one was chosen, and it brought a reward.

    Attributes:
        propensities_QK: probability of each candidate under the policy that was served; NaN where none was logged.
        shown_QK: which places hold a candidate.
        chosen_Q: place of the one that was chosen.
        rewards_Q: what it brought.
    """

    propensities_QK: Floats
    shown_QK: Mask
    chosen_Q: Places
    rewards_Q: Floats

    def __len__(self) -> int:
        """Rounds."""
        return len(self.chosen_Q)

    def at_chosen(self, of_QK: Floats) -> Floats:
        """What a table has for the candidates that were chosen, (Q,)."""
        return of_QK[np.arange(len(self)), self.chosen_Q]


@dataclass(frozen=True)
class Refused:
    """There is no number.

    Attributes:
        reason: as a word for programs.
        message: what is wrong, with how many rounds it is about, and what is wanted.
    """

    reason: Reason
    message: str

    def __str__(self) -> str:
        """As a cell of a table has it."""
        return f"none: {self.message}"


def refusal(log: Log, target_QK: Floats) -> Refused | None:
    """Why nothing may be estimated of a log; None where it may.

    Args:
        log: of the policy that was served.
        target_QK: probability of each candidate under the policy that is asked about.
    """
    if len(log) < LEAST_ROUNDS:
        return Refused("too_few", f"{len(log)} rounds; at least {LEAST_ROUNDS} wanted")
    for reason, wrong_Q, message in _findings(log, target_QK):
        if wrong_Q.any():
            first = int(np.argmax(wrong_Q))
            return Refused(
                reason, f"{message} in {int(wrong_Q.sum()):,} of {len(log):,} rounds, first in round {first}"
            )
    return None


def _findings(log: Log, target_QK: Floats) -> Iterator[tuple[Reason, Mask, str]]:
    """What can be wrong, the rounds in which it is, and how it is said; each is looked at if none before was wrong."""
    shown, given = log.shown_QK, log.propensities_QK
    yield "not_shown", ~shown[np.arange(len(log)), log.chosen_Q], "what was chosen had not been shown"
    yield "reward", ~np.isfinite(log.rewards_Q), "the reward is no finite number"
    yield "missing", np.logical_or.reduce(shown & np.isnan(given), axis=1), "a propensity is missing"
    yield "not_positive", np.logical_or.reduce(shown & (given <= 0), axis=1), "a propensity is 0 or less"
    yield "above_one", np.logical_or.reduce(shown & (given > 1), axis=1), "a propensity is above 1"
    sums = np.where(shown, given, 0.0).sum(axis=1)
    yield "sum", np.abs(sums - 1) > SUM_WITHIN, "the propensities of what was shown do not sum to 1"
    asked = np.where(shown, target_QK, 0.0)
    off = ~(np.abs(asked.sum(axis=1) - 1) <= SUM_WITHIN) | (asked < 0).any(axis=1)
    yield "target", off, "the probabilities of the policy that is asked about are not such, or do not sum to 1"


def effective_size(weights_Q: Floats) -> float:
    """How many rounds of equal weight would say as much: (sum w)^2 / sum w^2 (Kong, 1992); 0 where none weighs."""
    squares = float(weights_Q @ weights_Q)
    return float(weights_Q.sum()) ** 2 / squares if squares > 0 else 0.0


def mean_squared_weight(log: Log, target_QK: Floats) -> float:
    """What the squared weight of a round is on average, over all that could have been chosen in it: at least 1."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of places that hold no candidate
        squares_QK = target_QK**2 / log.propensities_QK
    return float(np.where(log.shown_QK, squares_QK, 0.0).sum(axis=1).mean())
