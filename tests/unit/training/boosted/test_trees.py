"""Folds keep apart what trees could know again, and no question chooses what it is judged by."""

import logging

import numpy as np
import pytest

from retrieval.features import NAMES
from training.boosted.candidates import Candidates
from training.boosted.config import BoostedConfig
from training.boosted.trees import cross_validate, fold_of

CONFIG = BoostedConfig(trees=40, patience=40, leaf_candidates=5, learning_rate=0.3, feature_share=1.0)
LENGTH, SCORE = NAMES.index("text_terms"), NAMES.index("bm25_score")


def remembered(questions: int = 100, depth: int = 10, same: int = 4) -> Candidates:
    """Of each four questions one and the same document is the answer, and nothing tells of it but its odd length."""
    rng = np.random.default_rng(0)
    features_NF = np.full((questions * depth, len(NAMES)), np.nan, np.float32)
    features_NF[:, LENGTH] = rng.integers(0, 10_000, questions * depth)
    grade_N = np.zeros((questions, depth), np.int64)
    grade_N[np.arange(questions), rng.integers(0, depth, questions)] = 1
    document = np.arange(questions) // same
    features_NF[grade_N.ravel() > 0, LENGTH] = 400.0 * document + 200
    size = np.full(questions, depth)
    return Candidates(features_NF, grade_N.ravel(), size, np.ones(questions), document)


def test_questions_of_a_group_are_in_one_fold_and_folds_are_alike_in_size() -> None:
    group = np.random.default_rng(0).integers(0, 60, 200)
    fold = fold_of(group, 5, seed=0)
    assert all(len(set(fold[group == one].tolist())) == 1 for one in set(group.tolist()))
    assert np.ptp(np.bincount(fold, minlength=5)) <= 3
    np.testing.assert_array_equal(fold, fold_of(group + 1000, 5, seed=0))
    assert (fold != fold_of(group, 5, seed=1)).any()


def test_a_group_larger_than_a_fold_is_dealt_out_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    group = np.concatenate([np.zeros(60, np.int64), np.arange(1, 41).repeat(1)])
    with caplog.at_level(logging.INFO, logger="catena"):
        fold = fold_of(group, 5, seed=0)
    assert "60 of 100 questions share answers too widely" in caplog.text
    assert np.bincount(fold).tolist() == [20] * 5 and len(set(fold[:60].tolist())) == 5


def test_trees_are_not_praised_for_what_they_remember() -> None:
    made = remembered()
    apart = cross_validate(made, CONFIG)
    alone = Candidates(made.features_NF, made.grade_N, made.size_Q, made.ideal_Q, np.arange(100))
    together = cross_validate(alone, CONFIG)
    assert together.beats and together.reranked > together.first + 0.2, "each document is met in training"
    assert not apart.beats and apart.reranked < together.reranked - 0.2


def test_what_is_best_by_chance_is_not_told_as_better() -> None:
    rng = np.random.default_rng(1)
    made = remembered(same=1)
    noise = made.features_NF.copy()
    noise[:, LENGTH], noise[:, SCORE] = rng.random(len(noise)), rng.random(len(noise))
    told = cross_validate(Candidates(noise, made.grade_N, made.size_Q, made.ideal_Q, made.group_Q), CONFIG)
    assert not told.beats and abs(told.compared["difference"]) < 0.1


@pytest.mark.parametrize("rising", [True, False])
def test_a_way_that_is_asked_for_is_taken(rising: bool) -> None:
    made = remembered(questions=40)
    made.features_NF[:, SCORE] = np.where(made.grade_N > 0, 0.0, 1.0)  # less is better, which rising trees cannot say
    told = cross_validate(made, CONFIG.model_copy(update={"rising": rising}))
    assert told.rising is rising and told.beats is not rising
    assert cross_validate(made, CONFIG).rising is False
