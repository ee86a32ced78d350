"""By which outcomes probabilities are fitted and judged: those of what was run, or of the first places of each intent.

What was run says by itself what a ranker's first places would bring only where failures enough are known, and where
nobody chose who knew better than the ranker: of a log of right answers with a few failures nearly everything succeeds,
whatever its score is, and a map that is fitted on it promises as much to any intent. So everything that is known counts
as an answer to another question there: how often does what a ranker puts first succeed, where what was never run for an
intent counts as a failure?

Shapes: P pairs of an intent and a capability, K places.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.capability_metrics import DEPTH, Answered, Score, answer, reciprocal_ranks
from evaluation.capability_split import Part
from training.ranking.experience import Experience, Mask, Numbers, Values

CALIBRATES: tuple[Part, ...] = ("valid", "judge")
JUDGES: tuple[Part, ...] = ("test",)
FEWEST_OF_EACH = 20  # failures, and successes, by which a map is fitted, and as many by which it is judged
LEAST_FAILED = 0.2  # share of what was run: below, a map of it promises much to any intent, however unlike all others
AT_ONCE = 4096


@dataclass(frozen=True)
class Basis:
    """What counts as an outcome; one for all rankers of a turn, so that their figures are of the same.

    Attributes:
        of_run: whether it is what was run; else the first places.
        sentence: what counts and why, for people.
    """

    of_run: bool
    sentence: str


@dataclass(frozen=True)
class Outcomes:
    """Scores of held-out intents, and what became of them.

    Attributes:
        scores_P: float64, finite.
        labels_P: bool, whether it was a success.
        intent_P: int64, number of the intent.
        first_P: bool, whether it is the best of its intent; all are, where what was run counts.
    """

    scores_P: Values
    labels_P: Mask
    intent_P: Numbers
    first_P: Mask

    @property
    def alike(self) -> bool:
        """Whether nothing can be calibrated: there is none, or all came out alike."""
        return not len(self.labels_P) or bool(self.labels_P.all()) or not self.labels_P.any()


def basis_of(score: Score, experience: Experience) -> Basis:
    """What counts for a ranker that is served.

    What was run counts where at least ``FEWEST_OF_EACH`` of it failed and succeeded in the parts that calibrate and in
    those that judge, and where it stands for what the ranker would put first: it was drawn by the policy that was
    logged, or a share of it failed that is at least ``LEAST_FAILED``, and no smaller than that of successes which the
    ranker's first places miss. Where these miss little, they are known as well as what was run.
    """
    good, bad = zip(*(_counted(experience, parts) for parts in (CALIBRATES, JUDGES)), strict=True)
    places = (
        f"probabilities are of the first {DEPTH} places of held-out intents, where what was never run for an intent "
        "counts as a failure"
    )
    if not sum(bad):
        return Basis(False, places)
    for name, known in (("failures", bad), ("successes", good)):
        if min(known) < FEWEST_OF_EACH:
            told = f"known {name} are {known[0]:,} to calibrate by and {known[1]:,} to judge by"
            return Basis(False, f"{places}: {told}, and {FEWEST_OF_EACH} of each wanted")
    failed = bad[0] / (good[0] + bad[0])
    missed = float((reciprocal_ranks(score, experience.successes(*CALIBRATES)) < 1).mean())
    if failed < max(missed, LEAST_FAILED) and not _drawn(experience):
        told = f"{failed:.1%} of what was run failed"
        if missed > LEAST_FAILED:
            return Basis(False, f"{places}: {told}, less than the {missed:.1%} of successes that first places miss")
        return Basis(False, f"{places}: {told}, and {LEAST_FAILED:.0%} wanted before that says what fails")
    return Basis(
        True, f"probabilities are of what was run for held-out intents: {sum(bad) / sum(good + bad):.1%} failed"
    )


def outcomes(
    score: Score, experience: Experience, parts: tuple[Part, ...], basis: Basis, answered: Answered | None = None
) -> Outcomes:
    """Outcomes of the intents of some parts.

    Of first places, what was never run for an intent counts as a failure. An intent with nothing but failures counts
    where one of them is what the ranker puts first: else nothing is known of its first place.

    Args:
        score: of the ranker.
        experience: traces and their parts.
        parts: whose intents count.
        basis: what counts.
        answered: of the same intents, where it was computed before.
    """
    if basis.of_run:
        numbers = experience.traces_in(*parts)
        intent_N = experience.traces.intent[numbers]
        scores = at_chosen(score, intent_N, experience.traces.chosen[numbers])
        there = np.isfinite(scores)
        good = experience.reward[numbers] >= 0.5
        return Outcomes(scores[there], good[there], intent_N[there], np.ones(int(there.sum()), bool))
    successes = experience.successes(*parts)
    if not len(successes):
        return Outcomes(np.empty(0), np.empty(0, bool), np.empty(0, np.int64), np.empty(0, bool))
    found = answered or answer(score, successes, experience.catalogue.can_run)
    failed, top_scores = _failed_first(score, experience, parts, successes.intents)
    scores_QK = np.concatenate([found.top_scores, top_scores])
    hits_QK = np.concatenate([found.top_hits, np.zeros(top_scores.shape, bool)])
    intents_QK = np.broadcast_to(np.concatenate([successes.intents, failed])[:, None], scores_QK.shape)
    first_QK = np.broadcast_to(np.arange(scores_QK.shape[1]) == 0, scores_QK.shape)
    there = np.isfinite(scores_QK)
    return Outcomes(scores_QK[there], hits_QK[there], intents_QK[there], first_QK[there])


def at_chosen(score: Score, intents_P: Numbers, chosen_P: Numbers) -> Values:
    """Scores of pairs, float64 (P,), block by block."""
    found = np.empty(len(intents_P))
    for start in range(0, len(intents_P), AT_ONCE):
        here = slice(start, start + AT_ONCE)
        found[here] = np.take_along_axis(np.asarray(score(intents_P[here])), chosen_P[here, None], axis=1)[:, 0]
    return found


def _counted(experience: Experience, parts: tuple[Part, ...]) -> tuple[int, int]:
    """Successes and failures among the traces of some parts."""
    good = experience.reward[experience.traces_in(*parts)] >= 0.5
    return int(good.sum()), int((~good).sum())


def _drawn(experience: Experience) -> bool:
    """Whether most of what was run for held-out intents was drawn with a probability that is known."""
    known = ~np.isnan(experience.propensity[experience.traces_in(*CALIBRATES)])
    return bool(known.mean() > 0.5)


def _failed_first(
    score: Score, experience: Experience, parts: tuple[Part, ...], succeeded: Numbers
) -> tuple[Numbers, Values]:
    """Intents without a success whose first place has failed, int64 (Q,), and their best scores, float64 (Q, K)."""
    depth = min(DEPTH, len(experience.catalogue))
    numbers = experience.traces_in(*parts)
    asked, chosen = experience.traces.intent[numbers], experience.traces.chosen[numbers]
    only = ~np.isin(asked, succeeded)
    intents = np.unique(asked[only])
    codes = asked[only] * len(experience.catalogue) + chosen[only]
    failed, best = [np.empty(0, np.int64)], [np.empty((0, depth))]
    for start in range(0, len(intents), AT_ONCE):
        block = intents[start : start + AT_ONCE]
        scores = np.asarray(score(block))
        wrong = np.isin(block * len(experience.catalogue) + scores.argmax(axis=1), codes)
        failed.append(block[wrong])
        best.append(-np.sort(-scores[wrong].astype(np.float64), axis=1)[:, :depth])
    return np.concatenate(failed), np.concatenate(best)
