"""Candidates of questions, and nDCG of their orders: the same as of the metrics that search is judged by."""

from collections.abc import Sequence

import numpy as np

from data.lexical import Tokenizer
from evaluation.ranking import evaluate_ranking
from retrieval.features import NAMES, CandidateFeatures
from retrieval.hits import SearchHit
from training.boosted.candidates import Candidates, find_candidates, groups_of
from training.cross_encoder.questions import Question


def drawn(questions: int = 40, seed: int = 0) -> tuple[Candidates, list[dict[str, int]]]:
    """Lists of 1 to 30 candidates with grades from 0 to 3, of which some answers were not found."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 31, questions)
    grades = [np.where(rng.random(size) < 0.2, rng.integers(1, 4, size), 0) for size in sizes]
    judged = [
        {f"d{n}": int(grade) for n, grade in enumerate(of) if grade} | {f"missed{n}": 2 for n in range(q % 3 + 1)}
        for q, of in enumerate(grades)
    ]
    found = [[hit(f"d{n}") for n in range(size)] for size in sizes]
    asked = [Question(f"q {n}", relevant, valid=False) for n, relevant in enumerate(judged)]
    remaining = iter(found)

    def search(texts: Sequence[str]) -> list[list[SearchHit]]:
        return [next(remaining) for _ in texts]

    return find_candidates(asked, search, CandidateFeatures(Tokenizer("none"))), judged


def hit(id_: str) -> SearchHit:
    return SearchHit(id_, id_, id_, "text", 0, 4, 1.0, {})


def test_ndcg_is_that_of_the_evaluation() -> None:
    candidates, judged = drawn()
    scores = np.random.default_rng(1).random(len(candidates.grade_N)).astype(np.float32).astype(np.float64)
    ends = np.cumsum(candidates.size_Q)
    run = {
        f"{q:03}": {f"d{n}": float(scores[end - size + n]) for n in range(size)}
        for q, (end, size) in enumerate(zip(ends, candidates.size_Q, strict=True))
    }
    theirs = evaluate_ranking(run, {f"{q:03}": one for q, one in enumerate(judged)}).per_query["ndcg@10"]
    np.testing.assert_allclose(candidates.ndcg(scores), theirs, atol=1e-12)


def test_equal_scores_keep_the_order_given() -> None:
    candidates, _ = drawn()
    ranks = np.concatenate([-np.arange(size, dtype=np.float64) for size in candidates.size_Q])
    np.testing.assert_array_equal(candidates.ndcg(np.zeros(len(ranks))), candidates.ndcg(ranks))
    assert (candidates.ndcg(ranks) != candidates.ndcg(-ranks)).any()


def test_some_questions_are_what_they_were_among_all() -> None:
    candidates, _ = drawn()
    scores = np.random.default_rng(2).random(len(candidates.grade_N))
    chosen = np.array([3, 17, 18, 39])
    kept = np.isin(np.repeat(np.arange(40), candidates.size_Q), chosen)
    some = candidates.of(chosen)
    np.testing.assert_array_equal(some.grade_N, candidates.grade_N[kept])
    np.testing.assert_array_equal(some.ndcg(scores[kept]), candidates.ndcg(scores)[chosen])
    assert some.features_NF.shape == (kept.sum(), len(NAMES)) and len(candidates.of(np.empty(0, np.int64)).size_Q) == 0


def test_questions_that_find_nothing_are_left_out() -> None:
    asked = [Question(f"q {n}", {"d0": 1}, valid=False, left_out=frozenset({"d1"})) for n in range(4)]

    def search(texts: Sequence[str]) -> list[list[SearchHit]]:
        return [[hit("d1"), hit("d0")][: int(text[2:]) % 3] for text in texts]

    candidates = find_candidates(asked, search, CandidateFeatures(Tokenizer("none")))
    assert candidates.size_Q.tolist() == [1] and candidates.grade_N.tolist() == [1], "d1 is to be left out"
    assert candidates.answered == 1
    empty = find_candidates([], search, CandidateFeatures(Tokenizer("none")))
    assert empty.answered == 0 and empty.features_NF.shape == (0, len(NAMES))


def test_questions_that_share_answers_are_of_one_group() -> None:
    group = groups_of([{"a"}, {"b", "c"}, {"d"}, {"c", "e"}, {"e"}, set()])
    assert group[1] == group[3] == group[4] and len(set(group[[0, 1, 2, 5]].tolist())) == 4
    assert groups_of([]).tolist() == []
