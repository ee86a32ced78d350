"""The verdict on a ranker: what is better is said to be, noise is not, and no question chooses its own weight."""

import numpy as np
import pytest

from training.cross_encoder.judge import TRIED, best_ndcg, ndcg, tried_weights, verdict
from training.cross_encoder.lists import RankedList

DEPTH = 20


def lists(count: int = 80, seed: int = 0) -> list[RankedList]:
    """One answer in each list, more often near the top than not; some lists are shorter, and some lack it."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        found = DEPTH - (n % 3)
        grades = np.zeros(found + (n % 10 == 0), np.int64)
        grades[-1 if n % 10 == 0 else min(found - 1, int(rng.geometric(0.25)) - 1)] = 1
        made.append(RankedList(f"question {n}", np.arange(len(grades)) + 100 * n, grades, found))
    return made


def logits(judged: list[RankedList], signal: float, seed: int = 1) -> np.ndarray:
    """Noise, and so much more for what answers."""
    rng = np.random.default_rng(seed)
    made = np.zeros((len(judged), DEPTH), np.float32)
    for n, one in enumerate(judged):
        made[n, : one.found] = rng.normal(size=one.found) + signal * (one.grades[: one.found] > 0)
    return made


def test_figures_are_those_of_the_order_and_ties_keep_that_of_the_first_stage() -> None:
    judged = lists()
    first = ndcg(judged, [np.zeros(one.found) for one in judged])
    rank = np.array([int(np.argmax(one.grades)) for one in judged])
    found = np.array([rank[n] < one.found for n, one in enumerate(judged)])
    np.testing.assert_allclose(first, np.where(found & (rank < 10), 1 / np.log2(rank + 2), 0))
    assert (first[::10] == 0).all(), "an answer that was not found counts"


def test_a_cross_encoder_that_knows_is_better_and_gets_little_of_the_first_stage() -> None:
    judged = lists()
    told = verdict(judged, logits(judged, 6.0), seed=0)
    assert told.beats and told.reranked > told.first + 0.1 and told.alone > told.first
    assert told.compared["p_value"] < 0.01 and told.compared["difference"] == pytest.approx(told.reranked - told.first)
    assert "better than the first stage (+" in str(told)
    scores = np.array([0.0, 6.0])
    unlikely, likely = told.blend.relevance(scores, ranked=False)
    assert unlikely < 0.1 < 0.5 < likely


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_not_better_and_the_first_stage_keeps_its_word(seed: int) -> None:
    judged = lists(seed=seed)
    noise = logits(judged, 0.0, seed + 10)
    told = verdict(judged, noise, seed=0)
    assert not told.beats and told.alone < told.first and told.reranked > told.alone
    found = [noise[n, : one.found] for n, one in enumerate(judged)]
    assert told.blend.weight >= tried_weights(found)[-3]
    assert told.blend.relevance(np.array([-3.0, 3.0]), False).max() < 0.3, "a score that says nothing promises nothing"


def test_a_weight_helps_where_both_know_something() -> None:
    judged = lists(200)
    told = verdict(judged, logits(judged, 1.5), seed=0)
    assert told.reranked > max(told.first, told.alone)
    best = best_ndcg(judged, logits(judged, 1.5))
    assert told.alone == pytest.approx(best["alone"]) and told.reranked <= best["reranked"] + 1e-9
    assert told.beats and 0 < told.blend.weight


def test_probabilities_are_those_of_outcomes() -> None:
    judged = lists(400)
    scores = logits(judged, 2.0)
    told = verdict(judged, scores, seed=0)
    for ranked in (False, True):
        of_lists = [told.blend.scores(scores[n, : one.found], ranked) for n, one in enumerate(judged)]
        promised = told.blend.relevance(np.concatenate(of_lists), ranked)
        answers = np.concatenate([one.grades[: one.found] > 0 for one in judged])
        assert promised.mean() == pytest.approx(answers.mean(), abs=0.01)
        likely = promised > 0.2
        assert promised[likely].mean() == pytest.approx(answers[likely].mean(), abs=0.1)


def test_no_question_chooses_the_weight_that_it_is_judged_with() -> None:
    """Two lists that want opposite weights: each is judged with the other's."""
    trusting = RankedList("a", np.arange(3), np.array([1, 0, 0]), 3)
    doubting = RankedList("b", np.arange(3), np.array([0, 0, 1]), 3)
    scores = np.array([[0.0, 1.0, 1.1], [0.0, 0.1, 1.0]], np.float32)
    by_weight = {
        weight: [
            float(ndcg([one], [scores[n] - weight * np.log([1, 2, 3])])[0])
            for n, one in enumerate((trusting, doubting))
        ]
        for weight in tried_weights(list(scores))
    }
    best = [max(by_weight, key=lambda weight, n=n: by_weight[weight][n]) for n in (0, 1)]  # type: ignore[misc]
    assert by_weight[best[0]] != by_weight[best[1]], "the canary sings: they do want different ones"
    told = verdict([trusting, doubting], scores, seed=0)
    assert told.reranked == pytest.approx((by_weight[best[1]][0] + by_weight[best[0]][1]) / 2)
    assert len(by_weight) == len(TRIED)


def test_one_list_alone_is_judged_too() -> None:
    one = RankedList("a", np.arange(2), np.array([0, 1]), 2)
    told = verdict([one], np.array([[0.0, 3.0]], np.float32), seed=0)
    assert told.reranked == told.alone == 1.0 and not told.beats and told.compared["difference"] > 0
    assert "may be chance" in str(told)
