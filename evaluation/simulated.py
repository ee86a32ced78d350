"""A catalogue with known rewards, policies that log what they show of it, and estimates beside the truth.

It answers of each estimator what no log of a real service can: how far it is off on average, how much it varies, and
how often its intervals hold the truth.

Shapes: X contexts, K items, Q rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.counterfactual import KINDS, Kind, estimate
from evaluation.logged import Floats, Log, Refused

Policy = Callable[[Floats], Floats]
"""Probabilities of items, of scores of them, a row a context."""


@dataclass(frozen=True)
class Catalogue:
    """What is known of a catalogue, because it was made up.

    Attributes:
        rewards_XK: probability that an item is a success in a context.
        scores_XK: what the service that logs thinks of it: right in part, and wrong alike about an item everywhere.
        model_XK: what a model of rewards expects: too little of good items, too much of bad ones.
    """

    rewards_XK: Floats
    scores_XK: Floats
    model_XK: Floats


def catalogue(contexts: int = 400, items: int = 6, seed: int = 0) -> Catalogue:
    """A catalogue of which half of what decides success is the item, and half how it fits the context."""
    rng = np.random.default_rng(seed)
    merit_XK = rng.normal(size=items) + rng.normal(size=(contexts, items))
    rewards_XK = 1 / (1 + np.exp(1.0 - merit_XK))
    scores_XK = 0.5 * merit_XK + rng.normal(size=items)
    return Catalogue(rewards_XK, scores_XK, 0.15 + 0.5 * rewards_XK)


def uniform(scores_XK: Floats) -> Floats:
    """Each item alike."""
    return np.full(scores_XK.shape, 1 / scores_XK.shape[1])


def softmax(scores_XK: Floats, temperature: float = 1.0) -> Floats:
    """By the exponential of scores."""
    powers_XK = np.exp((scores_XK - scores_XK.max(axis=1, keepdims=True)) / temperature)
    probabilities: Floats = powers_XK / powers_XK.sum(axis=1, keepdims=True)
    return probabilities


def epsilon_greedy(scores_XK: Floats, epsilon: float = 0.3) -> Floats:
    """The best item, but for a share of rounds that goes to all alike."""
    probabilities = epsilon * uniform(scores_XK)
    probabilities[np.arange(len(scores_XK)), scores_XK.argmax(axis=1)] += 1 - epsilon
    return probabilities


def by_position(scores_XK: Floats, steepness: float = 1.0) -> Floats:
    """By rank, as people look at lists: the second place half as often as the first, the third a third."""
    ranks_XK = np.argsort(np.argsort(-scores_XK, axis=1), axis=1) + 1
    seen_XK = ranks_XK**-steepness
    probabilities: Floats = seen_XK / seen_XK.sum(axis=1, keepdims=True)
    return probabilities


POLICIES: Mapping[str, Policy] = {
    "uniform": uniform,
    "softmax": softmax,
    "epsilon-greedy": epsilon_greedy,
    "by position": by_position,
}


def true_value(made: Catalogue, target_XK: Floats) -> float:
    """What a policy earns in a round, contexts being equally frequent."""
    return float((target_XK * made.rewards_XK).sum(axis=1).mean())


def served(made: Catalogue, policy_XK: Floats, rounds: int, rng: np.random.Generator) -> tuple[Log, np.ndarray]:
    """Rounds that a policy serves, and the context of each, int64 (Q,)."""
    contexts_Q = rng.integers(0, len(policy_XK), rounds)
    propensities_QK = policy_XK[contexts_Q]
    drawn_Q = rng.random(rounds)[:, None] >= np.cumsum(propensities_QK, axis=1)
    chosen_Q = np.minimum(drawn_Q.sum(axis=1), policy_XK.shape[1] - 1)
    succeeds_Q = rng.random(rounds) < made.rewards_XK[contexts_Q, chosen_Q]
    return Log(
        propensities_QK, np.ones(propensities_QK.shape, bool), chosen_Q, succeeds_Q.astype(np.float64)
    ), contexts_Q


@dataclass(frozen=True)
class Judged:
    """An estimator beside the truth, over many logs of one policy.

    Attributes:
        policy: that logged.
        kind: of estimator.
        truth: what the other policy earns.
        bias: mean of the estimates, less the truth.
        deviation: standard deviation of the estimates.
        coverage: share of intervals that hold the truth; None where none is claimed.
        refused: share of logs of which there was no estimate.
    """

    policy: str
    kind: Kind
    truth: float
    bias: float
    deviation: float
    coverage: float | None
    refused: float


def judge(
    made: Catalogue,
    target: Policy,
    policies: Mapping[str, Policy] = POLICIES,
    kinds: Sequence[Kind] = KINDS,
    rounds: int = 500,
    times: int = 200,
    resamples: int = 500,
    seed: int = 0,
) -> list[Judged]:
    """Each estimator beside the truth, for each policy that may have logged.

    Args:
        made: the catalogue.
        target: the policy that is asked about; it sees the true rewards.
        policies: by names; they see the scores of the service.
        kinds: of estimators.
        rounds: of each log.
        times: logs of each policy.
        resamples: of each interval.
        seed: of logs and intervals.
    """
    target_XK = target(made.rewards_XK)
    truth, found = true_value(made, target_XK), list[Judged]()
    for name, policy in policies.items():
        rng, policy_XK = np.random.default_rng(seed), policy(made.scores_XK)
        logs = [served(made, policy_XK, rounds, rng) for _ in range(times)]
        for kind in kinds:
            all_made = [
                estimate(kind, log, target_XK[of], made.model_XK[of], resamples, number)
                for number, (log, of) in enumerate(logs)
            ]
            numbers = [one for one in all_made if not isinstance(one, Refused)]
            values = np.array([one.value for one in numbers])
            intervals = [one.interval for one in numbers if one.interval is not None]
            holds = [low <= truth <= high for low, high in intervals]
            found.append(
                Judged(
                    policy=name,
                    kind=kind,
                    truth=truth,
                    bias=float(values.mean() - truth) if numbers else float("nan"),
                    deviation=float(values.std(ddof=1)) if len(numbers) > 1 else float("nan"),
                    coverage=float(np.mean(holds)) if intervals else None,
                    refused=1 - len(numbers) / times,
                )
            )
    return found
