"""Figures of rankers of capabilities, beside those of a slow reference."""

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.capability_metrics import Successes, answer, gini, ranks, reciprocal_ranks
from evaluation.ranking import evaluate_ranking

CAN_RUN = np.array([True] * 9 + [False])


def some(seed: int = 0, intents: int = 50) -> tuple[np.ndarray, Successes]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(intents, 10))
    scores[:, ~CAN_RUN] = -np.inf
    good = rng.random((intents, 9)) < 0.2
    good[np.arange(intents), rng.integers(0, 9, intents)] = True
    query, item = np.nonzero(good)
    grade = rng.choice([0.5, 1.0], len(query))
    return scores, Successes(np.arange(intents), query, item, grade)


def by(scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda intents: scores[intents]


def test_figures_are_those_of_search() -> None:
    scores, successes = some()
    run = {f"q{q:02d}": {f"c{c}": float(scores[q, c]) for c in range(9)} for q in range(len(scores))}
    qrels: dict[str, dict[str, int]] = {}
    for query, item, grade in zip(successes.query_E, successes.item_E, successes.grade_E, strict=True):
        qrels.setdefault(f"q{query:02d}", {})[f"c{item}"] = int(2 * grade)
    found = answer(by(scores), successes, CAN_RUN)
    wanted = evaluate_ranking(run, qrels, list(found.per_query))
    for name, values in wanted.per_query.items():
        np.testing.assert_allclose(found.per_query[name], values, err_msg=name)
    np.testing.assert_allclose(reciprocal_ranks(by(scores), successes), wanted.per_query["mrr"])


def test_equal_scores_go_by_number_as_in_an_answer() -> None:
    rows = np.zeros((2, 4))
    assert ranks(rows, np.array([0, 0, 1]), np.array([0, 3, 2])).tolist() == [1, 4, 3]


def test_coverage_and_gini_say_who_is_recommended() -> None:
    scores, successes = some()
    assert answer(by(scores), successes, CAN_RUN).coverage == 1.0
    wide = np.tile(-np.arange(40.0), (50, 1))
    same = answer(by(wide), successes, np.ones(40, bool))
    assert same.coverage == 0.25 and same.gini == pytest.approx(0.75)
    assert gini(np.array([3, 3, 3])) == 0 and gini(np.zeros(3, np.int64)) == 0


def test_one_capability_is_an_answer_and_none_is_refused() -> None:
    one = Successes(np.array([0]), np.array([0]), np.array([0]), np.array([1.0]))
    assert answer(by(np.array([[0.3]])), one, np.array([True])).means["mrr"] == 1.0
    none = Successes(*(np.empty(0, np.int64) for _ in range(3)), np.empty(0))
    with pytest.raises(ValueError, match="nothing to judge by"):
        answer(by(np.zeros((1, 1))), none, np.array([True]))
    with pytest.raises(ValueError, match="not a number"):
        answer(by(np.array([[np.nan]])), one, np.array([True]))
