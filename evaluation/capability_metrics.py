"""How well a ranker of capabilities answers intents whose successes are known: a look at all scores, block by block.

Shapes: Q intents that are judged, C capabilities, E successes of all intents together, K places that are looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.capabilities.traces import Traces
from evaluation.metrics import Judged, Ranked, parse_metric

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Values = npt.NDArray[np.float64]
Score = Callable[[Numbers], Floats]
"""Numbers of intents to the scores of all capabilities, (B, C); minus infinity for what cannot run."""

METRICS = ("mrr", "hit@1", "hit@3", "hit@5", "hit@10", "ndcg@5", "ndcg@10", "map")
DEPTH = 10  # places that coverage, Gini and calibration look at
CELLS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Successes:
    """What succeeded for the intents that are judged.

    Attributes:
        intents: int64 (Q,), their numbers among all intents, ascending.
        query_E: int64, place of the intent among them, ascending.
        item_E: int64, capability.
        grade_E: float64, the best reward that it had for the intent, above 0.
    """

    intents: Numbers
    query_E: Numbers
    item_E: Numbers
    grade_E: Values

    def __len__(self) -> int:
        """Intents."""
        return len(self.intents)


def successes_of(traces: Traces, reward_N: Values, wanted_Q: npt.NDArray[np.bool_]) -> Successes:
    """Successes, the partial ones too, of those wanted among all intents; intents without any are left out.

    Args:
        traces: what was run.
        reward_N: what each is worth, NaN where that is not known.
        wanted_Q: which of ``traces.intents`` are to be judged.
    """
    good = wanted_Q[traces.intent] & (reward_N > 0)
    width = max(int(traces.chosen.max(initial=0)) + 1, 1)
    codes, where = np.unique(traces.intent[good] * width + traces.chosen[good], return_inverse=True)
    grade_E = np.zeros(len(codes))
    np.maximum.at(grade_E, where, reward_N[good])
    intents, query_E = np.unique(codes // width, return_inverse=True)
    return Successes(intents, query_E, codes % width, grade_E)


@dataclass(frozen=True)
class Answered:
    """Figures of one ranker.

    Attributes:
        per_query: metric -> float64 (Q,).
        coverage: share of the capabilities that can run which are among the first ``DEPTH`` of any intent.
        gini: how unequal they share those places: 0 all alike, near 1 a few have all.
        top_scores: float64 (Q, K), of the first places.
        top_hits: bool (Q, K), which of them succeeded.
    """

    per_query: dict[str, Values]
    coverage: float
    gini: float
    top_scores: Values
    top_hits: npt.NDArray[np.bool_]

    @property
    def means(self) -> dict[str, float]:
        """Every figure that is a mean over intents, and coverage and Gini."""
        means = {name: float(values.mean()) for name, values in self.per_query.items()}
        return {**means, "coverage": self.coverage, "gini": self.gini}


def answer(score: Score, successes: Successes, can_run: npt.NDArray[np.bool_]) -> Answered:
    """Judge a ranker. Of equal scores the capability with the lower number comes first, as in an answer.

    Args:
        score: of all capabilities for some of the intents.
        successes: what is to be found.
        can_run: bool (C,).

    Raises:
        ValueError: if there is no success, or a score is not a number.
    """
    if not len(successes):
        raise ValueError("no intent has a success: there is nothing to judge by")
    step, depth = max(1, CELLS_AT_ONCE // len(can_run)), min(DEPTH, len(can_run))
    rank_E = np.empty(len(successes.item_E), np.int64)
    top_QK, hits_QK = np.empty((len(successes), depth)), np.zeros((len(successes), depth), bool)
    shown_C = np.zeros(len(can_run), np.int64)
    for start in range(0, len(successes), step):
        scores_BC = np.asarray(score(successes.intents[start : start + step]))
        if np.isnan(scores_BC).any():
            raise ValueError("a score is not a number")
        first, last = np.searchsorted(successes.query_E, [start, start + len(scores_BC)])
        row_E, item_E = successes.query_E[first:last] - start, successes.item_E[first:last]
        rank_E[first:last] = ranks(scores_BC, row_E, item_E)
        best_BK = np.argsort(-scores_BC, axis=1, kind="stable")[:, :depth]
        top_BK = np.take_along_axis(scores_BC, best_BK, axis=1)
        top_QK[start : start + step] = top_BK
        shown_C += np.bincount(best_BK[np.isfinite(top_BK)], minlength=len(can_run))
        near = rank_E[first:last] <= depth
        hits_QK[successes.query_E[first:last][near], rank_E[first:last][near] - 1] = True
    judged = _judged(successes, rank_E)
    per_query = {name: parse_metric(name)(judged) for name in METRICS}
    used = shown_C[can_run]
    return Answered(per_query, float((used > 0).mean()), gini(used), top_QK, hits_QK)


def ranks(scores_BC: Floats, row_E: Numbers, item_E: Numbers) -> Numbers:
    """Ranks, from 1, of some capabilities in the rows of a table of scores: int64 (E,)."""
    rows_EC = scores_BC[row_E]
    own_E1 = np.take_along_axis(rows_EC, item_E[:, None], axis=1)
    before_EC = (rows_EC == own_E1) & (np.arange(scores_BC.shape[1]) < item_E[:, None])
    return np.asarray(1 + (rows_EC > own_E1).sum(axis=1) + before_EC.sum(axis=1), np.int64)


def gini(counts: Numbers) -> float:
    """Gini coefficient of counts, at least 0 (Gini, 1912); 0 where there are none."""
    total = float(counts.sum())
    if total == 0:
        return 0.0
    ascending, n = np.sort(counts), len(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * total))


def reciprocal_ranks(score: Score, successes: Successes) -> Values:
    """1 / rank of the best success of each intent, float64 (Q,): the one figure that chooses between rankers."""
    found = np.empty(len(successes))
    step = 4096
    for start in range(0, len(successes), step):
        scores_BC = np.asarray(score(successes.intents[start : start + step]))
        first, last = np.searchsorted(successes.query_E, [start, start + len(scores_BC)])
        row_E = successes.query_E[first:last] - start
        best = np.full(len(scores_BC), np.iinfo(np.int64).max)
        np.minimum.at(best, row_E, ranks(scores_BC, row_E, successes.item_E[first:last]))
        found[start : start + step] = 1.0 / best
    return found


def rounded(figures: Mapping[str, float], digits: int = 4) -> dict[str, float]:
    """Figures as a table has them."""
    return {name: round(float(value), digits) for name, value in figures.items()}


def _judged(successes: Successes, rank_E: Numbers) -> Judged:
    """What ``evaluation.metrics`` computes from."""
    by_rank = np.lexsort((rank_E, successes.query_E))
    found = Ranked(successes.query_E, rank_E[by_rank], successes.grade_E[by_rank])
    by_grade = np.lexsort((-successes.grade_E, successes.query_E))
    starts = np.searchsorted(successes.query_E, successes.query_E, side="left")
    place_E = np.arange(1, len(rank_E) + 1) - starts
    ideal = Ranked(successes.query_E, place_E, successes.grade_E[by_grade])
    return Judged([str(number) for number in successes.intents], found, ideal, 0)
