"""The outcome-weighted centroid step: each capability's vector, moved towards the intents that it has served well.

It is what Outcome-Aware Tool Selection (2026) found to serve best while outcomes are few: nothing is fitted but how far
to move, and that is chosen by intents that the moved vectors have not seen. Not moving at all is among the choices.

Shapes: N traces, Q intents, C capabilities, D dimensions.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import Field

from data.artifacts import StageConfig
from data.matrices import unit_rows
from evaluation.capability_metrics import Successes, reciprocal_ranks, successes_of
from evaluation.capability_split import folds_of
from training.ranking.baselines import by_keys
from training.ranking.experience import Experience, Floats, Numbers, Values


class CentroidConfig(StageConfig):
    """Which moves are tried."""

    shares: tuple[float, ...] = Field(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), min_length=1, description="how far towards what succeeded, 0 to 1"
    )
    doubts: tuple[float, ...] = Field(
        (0.0, 2.0, 8.0), min_length=1, description="outcomes at which a capability goes half as far as the share says"
    )
    away: tuple[float, ...] = Field((0.0, 0.3), min_length=1, description="how far away from what failed, 0 to 1")
    folds: int = Field(5, ge=2, le=20, description="parts of the intents; each judged by what the others move")


@dataclass(frozen=True)
class Move:
    """How far vectors are moved.

    Attributes:
        share: towards the mean of the intents that succeeded, where outcomes are many.
        doubt: outcomes at which it is half of that.
        away: from the mean of the intents that failed.
    """

    share: float = 0.0
    doubt: float = 0.0
    away: float = 0.0


@dataclass(frozen=True)
class Judged:
    """The move that is best for intents that it has not seen.

    Attributes:
        move: of all that were tried.
        moved: float64 (Q,), reciprocal rank of each intent's best success by vectors that did not see it, the move
            chosen by the other folds, so that no intent chooses what it is judged by.
        still: float64 (Q,), likewise by the vectors as they are: cosine.
        tried: mean reciprocal rank of each move.
    """

    move: Move
    moved: Values
    still: Values
    tried: dict[Move, float] = field(default_factory=dict)


def moved(experience: Experience, numbers: Numbers, move: Move) -> Floats:
    """Vectors of capabilities after the step, float32 (C, D), unit length.

    Args:
        experience: vectors and rewards.
        numbers: of the traces that move them.
        move: how far.
    """
    return _Means.of(experience, numbers).moved(experience.capabilities, move)


def choose(experience: Experience, numbers: Numbers, config: CentroidConfig) -> Judged:
    """Try every move on folds of the intents.

    Args:
        experience: vectors and rewards.
        numbers: of the traces that may be learned from.
        config: what is tried.
    """
    traces = experience.traces.take(numbers)
    fold_Q = folds_of(traces.intents, config.folds)
    asked = successes_of(traces, experience.reward[numbers], np.ones(len(experience.intents), bool))
    moves = [Move(*one) for one in product(config.shares, config.doubts, _away(experience, numbers, config))]
    moves = list(dict.fromkeys(one if one.share else Move(away=one.away) for one in moves))
    found_MQ, fold_of = np.zeros((len(moves), len(asked))), fold_Q[asked.intents]
    for fold in range(config.folds):
        held = np.flatnonzero(fold_of == fold)
        if not len(held):
            continue
        means = _Means.of(experience, numbers[fold_Q[traces.intent] != fold])
        part = _only(asked, held)
        for row, move in enumerate(moves):
            score = by_keys(experience, means.moved(experience.capabilities, move))
            found_MQ[row, held] = reciprocal_ranks(score, part)
    moved_Q = np.empty(len(asked))
    for fold in range(config.folds):  # no intent chooses the move that it is judged by
        here = fold_of == fold
        if here.any():
            others = found_MQ[:, ~here] if (~here).any() else found_MQ
            moved_Q[here] = found_MQ[int(others.mean(axis=1).argmax()), here]
    means_M = found_MQ.mean(axis=1)
    tried = {move: float(mean) for move, mean in zip(moves, means_M, strict=True)}
    still = next(row for row, move in enumerate(moves) if move == Move())
    return Judged(moves[int(means_M.argmax())], moved_Q, found_MQ[still], tried)


@dataclass(frozen=True)
class _Means:
    """Mean intents of each capability, by what became of them, and how many outcomes they are the mean of."""

    good_CD: Floats
    bad_CD: Floats
    good_C: Values
    bad_C: Values

    @classmethod
    def of(cls, experience: Experience, numbers: Numbers) -> "_Means":
        chosen, intent = experience.traces.chosen[numbers], experience.traces.intent[numbers]
        reward = experience.reward[numbers].astype(np.float32)

        def means(weights: Floats) -> tuple[Floats, Values]:
            shape = (len(experience.catalogue), len(experience.intents))
            sums_CD = sp.csr_array(sp.coo_array((weights, (chosen, intent)), shape)) @ experience.intents
            counts_C = np.bincount(chosen, weights, shape[0]).astype(np.float64)
            return unit_rows(np.asarray(sums_CD, np.float32)), counts_C

        (good_CD, good_C), (bad_CD, bad_C) = means(reward), means(1 - reward)
        return cls(good_CD, bad_CD, good_C, bad_C)

    def moved(self, vectors_CD: Floats, move: Move) -> Floats:
        toward_C = np.where(self.good_C > 0, move.share * _trust(self.good_C, move.doubt), 0.0)[:, None]
        away_C = np.where(self.bad_C > 0, move.away * _trust(self.bad_C, max(move.doubt, 1.0)), 0.0)[:, None]
        step_CD = (1 - toward_C) * vectors_CD + toward_C * self.good_CD - away_C * self.bad_CD
        return unit_rows(step_CD.astype(np.float32))


def _trust(outcomes_C: Values, doubt: float) -> npt.NDArray[np.float32]:
    """How far so many outcomes are followed, 0 to 1."""
    return (outcomes_C / np.maximum(outcomes_C + doubt, 1e-12)).astype(np.float32)


def _away(experience: Experience, numbers: Numbers, config: CentroidConfig) -> tuple[float, ...]:
    """Without failures there is nothing to move away from."""
    return config.away if (experience.reward[numbers] < 1).any() else (0.0,)


def _only(asked: Successes, kept: Numbers) -> Successes:
    """Those of some of the intents, by ascending places."""
    inside = np.isin(asked.query_E, kept)
    place = np.searchsorted(kept, asked.query_E[inside])
    return Successes(asked.intents[kept], place, asked.item_E[inside], asked.grade_E[inside])
