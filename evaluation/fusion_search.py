"""The best way to fuse by training questions, kept only where it is better than the default by more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.fusions import METRIC, AskedLists, ways
from evaluation.significance import paired_difference
from retrieval.weights import Fusion

Values = npt.NDArray[np.float64]

FOLDS = 5
CERTAIN = 0.05  # p of a difference below which the tuned way is proposed


@dataclass(frozen=True)
class Tuned:
    """What training questions say.

    Attributes:
        best: way of the highest mean.
        scores: mean nDCG@10 of the default way and of the best on all questions; and of ways that were chosen without
            the questions that they are judged by, over folds, which the difference is of.
        difference: of those chosen to the default, as of ``paired_difference``.
        better: whether the best way is to be used.
    """

    best: Fusion
    scores: dict[str, float]
    difference: dict[str, Any]
    better: bool


def search_fusion(
    asked: AskedLists, qrels: Mapping[str, Mapping[str, int]], default: Fusion, resamples: int, seed: int
) -> Tuned:
    """Try every way on questions.

    The best of many ways looks better than it is: so in each of five folds the way that is best on the other four is
    judged, and these figures are compared with those of the default.

    Args:
        asked: lists of the questions, of which each has an answer.
        qrels: question -> document -> grade.
        default: way that is in use.
        resamples: of the comparison.
        seed: of folds and resamples.

    Raises:
        ValueError: if there are fewer questions than folds.
    """
    if len(asked.lists) < FOLDS:
        raise ValueError(f"{len(asked.lists)} questions are fewer than {FOLDS} folds")
    tried = list(ways())
    figures = [asked.judged(way, qrels).per_query[METRIC] for way in tried]
    scores_WQ, usual_Q = np.stack(figures), asked.judged(default, qrels).per_query[METRIC]
    chosen_Q = _held_out(scores_WQ, seed)
    difference = paired_difference(chosen_Q, usual_Q, resamples, seed)
    best = int(scores_WQ.mean(axis=1).argmax())
    return Tuned(
        best=tried[best],
        scores={
            "default": float(usual_Q.mean()),
            "best": float(scores_WQ[best].mean()),
            "held_out": float(chosen_Q.mean()),
        },
        difference=difference,
        better=bool(chosen_Q.mean() > usual_Q.mean() and difference["p_value"] < CERTAIN),
    )


def _held_out(scores_WQ: Values, seed: int) -> Values:
    """Of each question the score of the way that is best on the other folds, float64 (Q,)."""
    fold_Q = np.random.default_rng(seed).permutation(scores_WQ.shape[1]) % FOLDS
    chosen_Q = np.empty(scores_WQ.shape[1])
    for fold in range(FOLDS):
        way = scores_WQ[:, fold_Q != fold].mean(axis=1).argmax()
        chosen_Q[fold_Q == fold] = scores_WQ[way, fold_Q == fold]
    return chosen_Q


def halves(questions: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Questions to tune on and questions to judge by, where a corpus does not say which."""
    order = np.random.default_rng(seed).permutation(len(questions))
    ordered = sorted(questions)
    cut = len(ordered) // 2
    return [ordered[i] for i in order[:cut]], [ordered[i] for i in order[cut:]]
