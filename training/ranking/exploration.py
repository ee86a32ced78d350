"""Exploration: what is shown is put in another order now and then, with a probability that is known exactly.

A ranking learns only of what it shows first. Here the best K stay the ones that are shown, and their order is drawn.
What is logged of each is its *propensity*, the probability with which it is put first, which off-line estimates divide
by. It is computed, never estimated from draws.

Shapes: K items shown, in the order of their scores, best first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, logit

Values = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
Explore = Literal["none", "epsilon", "thompson"]

WIDE = 8.0  # deviations from the mean beyond which a normal density is nought in 64 bits
STEP = 0.2  # of the quadrature, in the smallest deviation: the trapezoidal rule is then exact to 1e-12
LEAST_SHARE = 0.25  # of the noise that is left however often something ran


@dataclass(frozen=True)
class Drawn:
    """An order that was drawn.

    Attributes:
        order: int64 (K,), places in the order of scores, as they are shown.
        propensities: float64 (K,), by place in the order of scores: the probability to be put first; they sum to 1.
    """

    order: Order
    propensities: Values

    @property
    def explored(self) -> bool:
        """Whether another one than the best is first."""
        return len(self.order) > 0 and int(self.order[0]) != 0


def as_ranked(count: int) -> Drawn:
    """No exploration: the best is first with probability 1."""
    propensities = np.zeros(count)
    propensities[:1] = 1.0
    return Drawn(np.arange(count), propensities)


def epsilon_greedy(count: int, epsilon: float, rng: np.random.Generator) -> Drawn:
    """With probability ``epsilon`` any order, all alike; else that of the scores.

    Args:
        count: K.
        epsilon: from 0 to 1.
        rng: that draws.
    """
    propensities = np.full(count, epsilon / max(count, 1))
    propensities[:1] += 1 - epsilon
    order = rng.permutation(count) if rng.random() < epsilon else np.arange(count)
    return Drawn(order.astype(np.int64), propensities)


def thompson(
    probabilities_K: Values, runs_K: Values | None, noise: float, epsilon: float, rng: np.random.Generator
) -> Drawn:
    """Thompson sampling with Gaussian noise on the log odds: a draw for each, the highest first.

    What ran often is known better, so its noise is smaller: ``noise / sqrt(1 + runs)``, and never below a quarter of
    ``noise``. Where the ranker is sure, draws alone leave all but the best a probability that is 0 in 64 bits, and
    such an answer tells nothing of other orders. So with probability ``epsilon`` a place at random is put before the
    others, and each has a propensity of at least ``epsilon / K``: that of its draw to be the highest counts the rest.

    Args:
        probabilities_K: of success, by the ranker.
        runs_K: how often each ran; None where that is not known, and all have the whole noise.
        noise: standard deviation of the log odds of what never ran, above 0.
        epsilon: from 0 to 1.
        rng: that draws.
    """
    means_K = logit(np.clip(probabilities_K, 1e-6, 1 - 1e-6))
    share_K = np.ones(len(means_K)) if runs_K is None else np.maximum(1 / np.sqrt(1 + runs_K), LEAST_SHARE)
    deviations_K = noise * share_K
    order = np.argsort(-rng.normal(means_K, deviations_K), kind="stable")
    count = len(order)
    if count and rng.random() < epsilon:
        first = rng.integers(count)
        order = np.concatenate([order[first : first + 1], np.delete(order, first)])
    propensities = (1 - epsilon) * first_propensities(means_K, deviations_K) + epsilon / max(count, 1)
    return Drawn(order, propensities)


def first_propensities(means_K: Values, deviations_K: Values) -> Values:
    """Probability of each of independent normal draws to be the largest, float64 (K,), which sums to 1.

    The integral over x of the density of one at x times the distribution functions of all others, by the trapezoidal
    rule, which converges faster than any power of its step for such functions (Trefethen and Weideman, SIAM Review,
    2014). Below the highest of all lower ends no draw is the largest, so the integral begins there.

    Args:
        means_K: of the draws.
        deviations_K: their standard deviations, above 0.
    """
    if len(means_K) < 2:
        return np.ones(len(means_K))
    low = float(np.max(means_K - WIDE * deviations_K))
    high = float(np.max(means_K + WIDE * deviations_K))
    x_X = np.arange(low, high, STEP * float(deviations_K.min()))
    z_XK = (x_X[:, None] - means_K) / deviations_K
    below_XK = log_ndtr(z_XK)
    others_XK = below_XK.sum(axis=1, keepdims=True) - below_XK
    density_XK = np.exp(others_XK - 0.5 * z_XK**2) / deviations_K
    sums_K = density_XK.sum(axis=0)
    return np.asarray(sums_K / sums_K.sum())
