"""What another ranking would have earned, from the log of one that was served: estimates, or the reason for none.

Each estimate weighs rewards by the ratio of the probabilities with which both policies choose what was chosen, so it is
only as good as the probabilities that were logged. Where those cannot be right there is no number, but a ``Refused``.

Shapes: Q rounds, K candidates of a round at most.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.logged import (
    FAR,
    LEAST_EFFECTIVE,
    SUM_WITHIN,
    Floats,
    Log,
    Refused,
    effective_size,
    mean_squared_weight,
    refusal,
)
from evaluation.significance import bootstrap_means

Kind = Literal["ips", "clipped_ips", "snips", "dr"]
KINDS: tuple[Kind, ...] = ("ips", "clipped_ips", "snips", "dr")
NAMES: dict[str, str] = {"ips": "IPS", "clipped_ips": "clipped IPS", "snips": "SNIPS", "dr": "DR"}


@dataclass(frozen=True)
class Estimate:
    """The mean reward of a round under the other policy.

    Attributes:
        value: of the mean.
        interval: its ends, of 95%; None where the estimator is biased on purpose, and none is claimed.
        rounds: that it is made of.
        effective: rounds of equal weight that would say as much, by the weights or by what is to be expected of them.
        clipped: share of rounds whose weight was cut.
    """

    value: float
    interval: tuple[float, float] | None
    rounds: int
    effective: float
    clipped: float = 0.0

    def __str__(self) -> str:
        """As a cell of a table has it."""
        return f"{self.value:.4f}" + ("" if self.interval is None else " ({:.4f} to {:.4f})".format(*self.interval))


def estimate(
    kind: Kind, log: Log, target_QK: Floats, model_QK: Floats | None = None, resamples: int = 2000, seed: int = 0
) -> Estimate | Refused:
    """What a policy would have earned in the rounds of a log.

    Args:
        kind: of estimator. ``ips``: rewards weighed by the ratio of probabilities (Horvitz and Thompson, 1952; Strehl
            et al., NeurIPS 2010). ``clipped_ips``: no weight above the square root of the number of rounds (truncated
            importance sampling, Ionides, 2008). ``snips``: over the sum of weights (Swaminathan and Joachims, NeurIPS
            2015). ``dr``: what a model of rewards expects, and the weighed rest (Dudik, Langford and Li, ICML 2011).
        log: rounds as they were served.
        target_QK: probability of each candidate under the policy that is asked about.
        model_QK: expected reward of each candidate, for ``dr``; made without the rewards of these rounds.
        resamples: of the interval.
        seed: of them.

    Raises:
        ValueError: if ``dr`` is asked for without a model.
    """
    refused = refusal(log, target_QK)
    if refused is not None:
        return refused
    weights_Q = log.at_chosen(target_QK) / log.at_chosen(log.propensities_QK)
    effective, refused = _weighed(log, target_QK, weights_Q)
    if refused is not None:
        return refused
    if kind == "clipped_ips":
        most = np.sqrt(len(log))
        value = float((np.minimum(weights_Q, most) * log.rewards_Q).mean())
        return Estimate(value, None, len(log), effective, float((weights_Q > most).mean()))
    above_Q, below_Q = weights_Q * log.rewards_Q, np.ones(len(log))
    if kind == "snips":
        below_Q = weights_Q
    elif kind == "dr":
        above_Q = _doubly_robust(log, weights_Q, target_QK, model_QK)
    interval = ratio_interval(above_Q, below_Q, resamples, seed)
    return Estimate(float(above_Q.sum() / below_Q.sum()), interval, len(log), effective)


def _weighed(log: Log, target_QK: Floats, weights_Q: Floats) -> tuple[float, Refused | None]:
    """The effective size, and why weights give no estimate: they say too little, or cannot be those of the log.

    Where what the policy would choose was hardly ever served, a log may not have it at all. Its weights are then small
    and alike, and look as if they said much; so the size that is to be expected counts too, and the mean, which is to
    be 1 whatever the policies are.
    """
    squares = mean_squared_weight(log, target_QK)
    effective = min(effective_size(weights_Q), len(log) / squares)
    if effective < LEAST_EFFECTIVE:
        size = f"{len(log):,} rounds say as much as {effective:.1f} of equal weight"
        return effective, Refused("effective", f"{size}; at least {LEAST_EFFECTIVE:g} wanted")
    mean, error = float(weights_Q.mean()), np.sqrt(max(squares - 1, 0.0) / len(log))
    if abs(mean - 1) > FAR * error + SUM_WITHIN:
        message = f"the mean weight is {mean:.3f} where 1 is expected, give or take {error:.3f}: propensities are wrong"
        return effective, Refused("weights", message)
    return effective, None


def _doubly_robust(log: Log, weights_Q: Floats, target_QK: Floats, model_QK: Floats | None) -> Floats:
    """The terms of DR, (Q,)."""
    if model_QK is None:
        raise ValueError("dr needs what a model expects of each candidate")
    expected_Q = np.where(log.shown_QK, target_QK * model_QK, 0.0).sum(axis=1)
    terms_Q: Floats = expected_Q + weights_Q * (log.rewards_Q - log.at_chosen(model_QK))
    return terms_Q


def ratio_interval(
    above_Q: Floats, below_Q: Floats, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap-t interval of a ratio of two means (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

    Weighed rewards are skewed: the few rounds of large weight make the mean. Percentiles of resampled means are then
    too near to it; what is resampled here is the distance over its own standard error (by the delta method), which is
    larger in the resamples in which the mean is.

    Args:
        above_Q: of the mean above, one value per round.
        below_Q: of the mean below, whose sum is not 0; ones for a plain mean.
        resamples: drawn with replacement.
        seed: of the drawing.
        level: share of the resampled distances that lies inside.
    """
    columns = np.stack([above_Q, below_Q, above_Q**2, above_Q * below_Q, below_Q**2], axis=1)
    ratio, error = _ratio_and_error(columns.mean(axis=0, keepdims=True), len(above_Q))
    if error[0] == 0:
        return float(ratio[0]), float(ratio[0])
    ratios_B, errors_B = _ratio_and_error(bootstrap_means(columns, resamples, seed), len(above_Q))
    drawn = errors_B > 0  # a resample of equal values has no error to measure by
    far_B = (ratios_B[drawn] - ratio) / errors_B[drawn]
    short, long = np.quantile(far_B, [(1 - level) / 2, (1 + level) / 2])
    return float(ratio[0] - long * error[0]), float(ratio[0] - short * error[0])


def _ratio_and_error(means_B5: Floats, units: int) -> tuple[Floats, Floats]:
    """Ratios of means and their standard errors, of means of a, b, a^2, ab and b^2."""
    above, below, above_squared, product, below_squared = means_B5.T
    with np.errstate(divide="ignore", invalid="ignore"):  # of a resample in which nothing weighs: no error, left out
        ratio = above / below
        variance = (above_squared - 2 * ratio * product + ratio**2 * below_squared) / below**2
    return ratio, np.sqrt(np.maximum(np.nan_to_num(variance, nan=0.0, posinf=0.0), 0.0) / units)
