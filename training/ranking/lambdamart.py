"""LambdaMART on what the other rankers say of a capability: a baseline of the table, trained by LightGBM.

Shapes: Q intents, K candidates of each, F features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evaluation.capability_metrics import Score
from evaluation.capability_split import folds_of
from retrieval.boosted import load_lightgbm
from training.ranking.baselines import bm25, by_keys, cosine
from training.ranking.centroid import Move, moved
from training.ranking.experience import Counts, Experience, Floats, Numbers

CANDIDATES = 30  # of each intent, by its cosine and by the centroid step
MOST_INTENTS = 6000  # that trees are trained on
PARAMETERS: Mapping[str, Any] = {
    "objective": "lambdarank",
    "metric": "None",
    "label_gain": [0, 1],
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "num_threads": 1,
}


def lambdamart(experience: Experience, numbers: Numbers, move: Move, trees: int = 100, seed: int = 0) -> Score:
    """Trees over cosine, the centroid step, BM25, successes, success rate, and the features of capabilities.

    What counts and the centroid step say of an intent that is trained on comes from the intents of the other half.

    Args:
        experience: vectors, traces, features.
        numbers: of the traces that may be learned from.
        move: of the centroid step.
        trees: how many.
        seed: of the intents that are drawn.
    """
    lightgbm, traces = load_lightgbm(), experience.traces
    asked = np.unique(traces.intent[numbers[experience.reward[numbers] > 0]])
    asked = np.sort(np.random.default_rng(seed).permutation(asked)[:MOST_INTENTS])
    words, fold_Q = bm25(experience), folds_of(traces.intents, 2, seed + 1)
    rows, labels = list[Floats](), list[Numbers]()
    for fold in (0, 1):
        others = numbers[fold_Q[traces.intent[numbers]] != fold]
        counts = Counts.of(experience, others).times(len(numbers) / max(len(others), 1))
        columns = _Columns(experience, counts, by_keys(experience, moved(experience, others, move)), words)
        here = asked[fold_Q[asked] == fold]
        chosen_QK, features_QKF = columns.of(here)
        rows.append(features_QKF.reshape(-1, features_QKF.shape[2]))
        labels.append(_succeeded(experience, numbers, here, chosen_QK).ravel())
    features_NF, label_N = np.concatenate(rows), np.concatenate(labels)
    data = lightgbm.Dataset(features_NF, label_N, group=np.full(len(asked), chosen_QK.shape[1]))
    booster = lightgbm.train({**PARAMETERS, "seed": seed}, data, trees)
    served = _Columns(
        experience, Counts.of(experience, numbers), by_keys(experience, moved(experience, numbers, move)), words
    )

    def score(intents: Numbers) -> Floats:
        best_QK, of_best_QKF = served.of(intents)
        given = booster.predict(of_best_QKF.reshape(-1, of_best_QKF.shape[2])).reshape(best_QK.shape)
        scores = np.full((len(intents), len(experience.catalogue)), -1e6, np.float32)
        scores += served.centroid(intents)  # behind the candidates, in the order of the centroid step
        np.put_along_axis(scores, best_QK, given.astype(np.float32), axis=1)
        scores[:, ~experience.catalogue.can_run] = -np.inf
        return scores

    return score


class _Columns:
    """Candidates of intents, and their features."""

    def __init__(self, experience: Experience, counts: Counts, centroid: Score, words: Score) -> None:
        self._experience, self.centroid, self._words = experience, centroid, words
        past = [np.log1p(counts.succeeded), counts.rate]
        self._own_CF = np.column_stack([*past, experience.past.now]).astype(np.float32)
        self._count = min(CANDIDATES, int(experience.catalogue.can_run.sum()))

    def of(self, intents: Numbers) -> tuple[Numbers, Floats]:
        """int64 (Q, K) and float32 (Q, K, F)."""
        scores = [np.asarray(one(intents), np.float32) for one in (cosine(self._experience), self.centroid)]
        best_QK = np.argsort(-np.maximum(*scores), axis=1, kind="stable")[:, : self._count]
        scores.append(np.asarray(self._words(intents), np.float32))
        asked = [np.take_along_axis(one, best_QK, axis=1)[..., None] for one in scores]
        return best_QK, np.concatenate([*asked, self._own_CF[best_QK]], axis=2)


def _succeeded(experience: Experience, numbers: Numbers, intents: Numbers, chosen_QK: Numbers) -> Numbers:
    """1 where a trace says that a candidate has succeeded, int64 (Q, K)."""
    good, width = numbers[experience.reward[numbers] > 0], len(experience.catalogue)
    known = np.unique(experience.traces.intent[good] * width + experience.traces.chosen[good])
    return np.isin(intents[:, None] * width + chosen_QK, known).astype(np.int64)
