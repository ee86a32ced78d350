"""LambdaMART by LightGBM: trees that put candidates in order, and how many of them are best on unseen questions.

Shapes: Q questions, N candidates of all of them, R rounds, of one tree each.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.progress import progress
from evaluation.significance import paired_difference
from retrieval.boosted import load_lightgbm
from retrieval.features import NAMES, RISING
from training.boosted.candidates import Candidates
from training.boosted.config import BoostedConfig
from training.verdict import in_words, is_better

logger = logging.getLogger("catena")

Values = npt.NDArray[np.float64]

NEAR_THE_TOP = 20  # pairs with a document above this rank teach: a little deeper than nDCG@10 looks


@dataclass(frozen=True)
class BoostedVerdict:
    """Trees beside the order that they were given, on questions that they were not trained on.

    Attributes:
        trees: how many are best on all questions.
        rising: whether they are better if more of a score may never lower a candidate's.
        first: mean nDCG@10 of the order given.
        reranked: of the trees', whose number was chosen by other questions.
        compared: ``reranked`` less ``first``, as of ``paired_difference``.
    """

    trees: int
    rising: bool
    first: float
    reranked: float
    compared: dict[str, float]

    @property
    def beats(self) -> bool:
        """Whether they are better, and not by chance."""
        return is_better(self.compared)

    def __str__(self) -> str:
        return in_words(self.first, self.reranked, self.compared, "the order it was given")


def cross_validate(candidates: Candidates, config: BoostedConfig) -> BoostedVerdict:
    """Judge each fold of the questions by trees that were trained on the others.

    The number of trees that a fold is judged with, and whether their features only rise, is what is best on the other
    folds; so no question chooses what it is judged by.

    Args:
        candidates: of at least ``folds`` questions.
        config: how trees are grown.
    """
    fold_Q = fold_of(candidates.group_Q, config.folds, config.seed)
    tried = {way: _values_by_round(candidates, fold_Q, config, way) for way in _ways(config)}
    value_TQ = np.concatenate(list(tried.values()))
    trees = [(way, trees) for way, value_RQ in tried.items() for trees in range(1, len(value_RQ) + 1)]
    reranked_Q = np.empty(len(fold_Q))
    for fold in range(config.folds):
        best = int(value_TQ[:, fold_Q != fold].mean(axis=1).argmax())
        reranked_Q[fold_Q == fold] = value_TQ[best, fold_Q == fold]
    first_Q = candidates.ndcg(np.zeros(len(candidates.grade_N)))
    rising, number = trees[int(value_TQ.mean(axis=1).argmax())]
    return BoostedVerdict(
        trees=number,
        rising=rising,
        first=float(first_Q.mean()),
        reranked=float(reranked_Q.mean()),
        compared=paired_difference(reranked_Q, first_Q, seed=config.seed),
    )


def fold_of(group_Q: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Which fold each question is judged in: int64 (Q,); folds are about equally large.

    Questions that share an answer are in one fold: trees can know a document again by its length and its facts, and
    would be judged by what they remember. A group that is larger than a fold is dealt out question by question.

    Args:
        group_Q: number of each question's group.
        folds: how many.
        seed: of the deal.
    """
    _, group_Q, size_G = np.unique(group_Q, return_inverse=True, return_counts=True)
    large_Q = size_G[group_Q] > len(group_Q) / folds
    if large_Q.any():
        logger.info(
            "boosted: %d of %d questions share answers too widely to be kept apart: trees that are judged by one may "
            "know its answer from another",
            large_Q.sum(),
            len(large_Q),
        )
    dealt_Q = np.where(large_Q, len(size_G) + np.arange(len(group_Q)), group_Q)  # each of a large group for itself
    _, dealt_Q, size_G = np.unique(dealt_Q, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(size_G))
    order = order[np.argsort(-size_G[order], kind="stable")]
    fold_G, filled = np.empty(len(size_G), np.int64), np.zeros(folds, np.int64)
    for group in order:
        fold_G[group] = filled.argmin()
        filled[fold_G[group]] += size_G[group]
    return fold_G[dealt_Q]


def _ways(config: BoostedConfig) -> tuple[bool, ...]:
    return (True, False) if config.rising is None else (config.rising,)


def _values_by_round(
    candidates: Candidates, fold_Q: npt.NDArray[np.int64], config: BoostedConfig, rising: bool
) -> Values:
    """nDCG@10 of each question after each round, by trees of the other folds: float64 (R, Q).

    All folds grow together, a tree each a round, and stop when their mean has not risen for ``patience`` rounds.
    """
    held = [candidates.of(np.flatnonzero(fold_Q == fold)) for fold in range(config.folds)]
    boosters = [
        _booster(candidates.of(np.flatnonzero(fold_Q != fold)), candidates, config, rising)
        for fold in range(config.folds)
    ]
    scores = [np.zeros(len(one.grade_N)) for one in held]
    rounds, best, since = list[Values](), -np.inf, 0
    with progress("boosted, rising" if rising else "boosted", config.trees, "trees") as counted:
        while len(rounds) < config.trees and since < config.patience:
            value_Q = np.empty(len(fold_Q))
            for fold, (booster, one) in enumerate(zip(boosters, held, strict=True)):
                if not booster.update():  # it says whether nothing is left to split
                    last = booster.current_iteration() - 1
                    scores[fold] += booster.predict(one.features_NF, start_iteration=last, num_iteration=1)
                value_Q[fold_Q == fold] = one.ndcg(scores[fold])
            rounds.append(value_Q)
            since = 0 if value_Q.mean() > best else since + 1
            best = max(best, float(value_Q.mean()))
            counted.advance(1)
    return np.stack(rounds)


def train_trees(candidates: Candidates, config: BoostedConfig, judged: BoostedVerdict) -> Any:  # noqa: ANN401 - LightGBM's
    """As many trees as the verdict says, of the kind that it says, trained on all questions."""
    booster = _booster(candidates, candidates, config, judged.rising)
    for _ in range(judged.trees):
        if booster.update():
            break
    return booster


def importances(booster: Any) -> dict[str, dict[str, float]]:  # noqa: ANN401 - LightGBM's Booster
    """What each feature did for the trees, largest first: ``gain``, its share of what all splits gained, and ``split``.

    The second is the number of splits by it. Features without a split are left out.
    """
    gain, split = booster.feature_importance("gain"), booster.feature_importance("split")
    order = [f for f in np.argsort(-gain, kind="stable").tolist() if split[f]]
    whole = max(float(gain.sum()), 1e-300)
    return {
        "gain": {NAMES[f]: round(float(gain[f]) / whole, 4) for f in order},
        "split": {NAMES[f]: float(split[f]) for f in order},
    }


def _booster(candidates: Candidates, graded: Candidates, config: BoostedConfig, rising: bool) -> Any:  # noqa: ANN401
    """A booster without trees; the gain of a grade is the grade, as nDCG has it here.

    Args:
        candidates: that it is to be trained on.
        graded: all there are, for the largest grade.
        config: how trees are grown.
        rising: whether more of the features ``RISING`` may never lower a score.
    """
    lightgbm = load_lightgbm()
    parameters = {
        "objective": "lambdarank",
        "metric": "None",
        "label_gain": list(range(max(2, int(graded.grade_N.max(initial=0)) + 1))),
        "lambdarank_truncation_level": NEAR_THE_TOP,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.leaf_candidates,
        "feature_fraction": config.feature_share,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": config.threads,
        "verbosity": -1,
    }
    if rising:
        parameters["monotone_constraints"] = [int(name in RISING) for name in NAMES]
    data = lightgbm.Dataset(
        candidates.features_NF,
        candidates.grade_N,
        group=candidates.size_Q,
        feature_name=list(NAMES),
        params={key: parameters[key] for key in parameters if key != "metric"},
    )
    return lightgbm.Booster(parameters, data)
