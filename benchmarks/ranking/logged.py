"""Learning from the log of a biased policy, where a simulator knows what every choice would have earned.

Requests are MetaTool's. A tool that answers succeeds nine times in ten; another one rarely, the more often the more it
is like one that answers. The policy that logs shows ten tools by cosine and a liking of its own for some of them, and
draws which one runs; so what it logs is biased, and most of what it never shows is unknown.

Shapes: Q intents, C capabilities, R rounds, K shown in a round.
"""

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.ranking.corpus import metatool
from benchmarks.ranking.quality import served_with
from benchmarks.rows import Row
from data.capabilities.traces import Ragged
from evaluation.capability_metrics import CELLS_AT_ONCE, Score
from training.ranking.baselines import cosine
from training.ranking.config import LearnConfig
from training.ranking.experience import Experience, Numbers, Values
from training.ranking.judging import counterfactual, greedy, logged_rounds
from training.ranking.outcomes import basis_of
from training.ranking.probabilities import calibrated

ROUNDS, SHOWN = 20_000, 10
LIKING, TEMPERATURE = 0.15, 0.08
RIGHT, WRONG, ALIKE = 0.9, 0.05, 0.2
WORKS = 0.2  # of a tool that is broken: how often it does what it would do


@dataclass(frozen=True)
class Simulated:
    """Rounds of the biased policy over real requests.

    Attributes:
        experience: its log, as traces.
        truth_QC: probability that a capability succeeds for an intent.
        earned: mean reward of the policy that logs on test intents, by truth.
        best_earned: likewise, if it always ran what it likes best.
    """

    experience: Experience
    truth_QC: Values
    earned: float
    best_earned: float


def simulate(whole: Experience, rounds: int = ROUNDS, seed: int = 0, broken: float = 0.0) -> Simulated:
    """Serve requests with the biased policy.

    Args:
        whole: requests, tools, and which answers which.
        rounds: of the log.
        seed: of everything drawn.
        broken: share of the tools that fail most of the time, whatever is asked.
    """
    rng = np.random.default_rng(seed)
    truth_QC = truth_of(whole)
    truth_QC[:, np.random.default_rng((seed, 1)).random(truth_QC.shape[1]) < broken] *= WORKS
    intent_R = rng.integers(0, len(whole.intents), rounds)
    shown_QK, policy_QK = biased(whole, rng)
    drawn = (rng.random(rounds)[:, None] >= np.cumsum(policy_QK[intent_R], axis=1)).sum(axis=1)
    chosen_R = shown_QK[intent_R, np.minimum(drawn, SHOWN - 1)]
    reward_R = (rng.random(rounds) < truth_QC[intent_R, chosen_R]).astype(np.float64)
    indptr = np.arange(rounds + 1) * SHOWN
    none = Ragged(np.zeros(rounds + 1, np.int64), np.empty(0, np.int64))
    traces = replace(
        whole.traces,
        intent=intent_R,
        chosen=chosen_R,
        reward=reward_R,
        time=np.full(rounds, -1, np.int64),
        session=np.full(rounds, -1, np.int64),
        seconds=np.full(rounds, np.nan),
        rating=np.full(rounds, np.nan),
        passed_over=np.zeros(rounds, bool),
        context=none,
        steps=none,
        shown=Ragged(indptr, shown_QK[intent_R].ravel()),
        propensities=Ragged(indptr, policy_QK[intent_R].ravel()),
    )
    held = whole.intents_in("test")
    rows = np.arange(len(truth_QC))[:, None]
    shown_truth_QK = truth_QC[rows, shown_QK][held]
    earned, best = float((policy_QK[held] * shown_truth_QK).sum(axis=1).mean()), float(shown_truth_QK[:, 0].mean())
    return Simulated(whole.over(traces, whole.part, reward_R), truth_QC, earned, best)


def truth_of(whole: Experience) -> Values:
    """Probability of success of each capability for each intent, float64 (Q, C)."""
    answers = whole.successes("train", "valid", "judge", "test")
    likeness_CC = np.maximum(whole.capabilities @ whole.capabilities.T, 0)
    best_QC = np.zeros((len(whole.intents), len(whole.catalogue)))
    np.maximum.at(best_QC, answers.intents[answers.query_E], likeness_CC[answers.item_E])
    truth_QC = WRONG + ALIKE * best_QC
    truth_QC[answers.intents[answers.query_E], answers.item_E] = RIGHT
    return np.asarray(truth_QC)


def biased(whole: Experience, rng: np.random.Generator) -> tuple[Numbers, Values]:
    """What the policy shows for each intent, best first, int64 (Q, K), and how likely each is to run."""
    liking_C = LIKING * rng.normal(size=len(whole.catalogue))
    scores_QC = np.asarray(whole.intents @ whole.capabilities.T + liking_C)
    shown_QK = np.argsort(-scores_QC, axis=1, kind="stable")[:, :SHOWN]
    scores_QK = np.take_along_axis(scores_QC, shown_QK, axis=1)
    powers_QK = np.exp((scores_QK - scores_QK[:, :1]) / TEMPERATURE) + 0.02
    return shown_QK, np.asarray(powers_QK / powers_QK.sum(axis=1, keepdims=True), np.float64)


def earned_by(score: Score, truth_QC: Values, intents: Numbers) -> float:
    """What running the best of all capabilities earns, by truth."""
    step = max(1, CELLS_AT_ONCE // truth_QC.shape[1])
    firsts = [np.asarray(score(intents[n : n + step])).argmax(axis=1) for n in range(0, len(intents), step)]
    return float(truth_QC[intents, np.concatenate(firsts)].mean())


def measure() -> list[Row]:
    """One log, one turn of learning from it: two minutes."""
    whole = metatool()
    made = simulate(whole)
    experience = made.experience
    kind, sentence, score = served_with(experience, LearnConfig())
    held = np.flatnonzero(whole.intents_in("test"))
    value, by_cosine = (earned_by(one, made.truth_QC, held) for one in (score, cosine(experience)))
    estimates = counterfactual(score, calibrated(score, experience, basis_of(score, experience)), experience)
    _, shown_RK, intents_R = logged_rounds(experience)
    policy_RK = greedy(score, shown_RK, intents_R)
    truth = float((policy_RK * made.truth_QC[intents_R[:, None], shown_RK]).sum(axis=1).mean())
    dr = estimates["dr"]
    beside = "; ".join(f"{name} {one.get('value', one.get('refused'))}" for name, one in estimates.items())
    within = float("low" in dr and dr["low"] <= truth <= dr["high"])
    return [
        Row(
            id="rank.logged.value",
            what="what the learned ranking earns by the simulator's truth, over the biased policy that logged, on "
            f"{len(held):,} held-out requests of MetaTool",
            value=round(100 * (value / made.earned - 1), 2),
            unit="%",
            at_least=15.0,
            peer=f"{kind} {value:.4f}; logging policy {made.earned:.4f}, and {made.best_earned:.4f} if it never tried "
            f"anything; cosine {by_cosine:.4f}; {sentence}",
        ),
        Row(
            id="rank.logged.dr_holds_truth",
            what="whether DR's interval holds the truth, for the best of what was shown by the learned ranking",
            value=within,
            unit="1 yes, 0 no",
            at_least=1.0,
            peer=f"truth {truth:.4f}; DR {dr.get('low')} to {dr.get('high')}; {beside}; {len(intents_R):,} rounds",
        ),
    ]
