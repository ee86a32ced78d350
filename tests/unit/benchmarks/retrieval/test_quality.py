"""Rows of search quality: held to the published figures and to the better single method."""

import numpy as np
import pytest

from benchmarks.retrieval.boosted import Judged
from benchmarks.retrieval.boosted import rows_of as rows_of_trees
from benchmarks.retrieval.plain import by_vectors, by_words, fused
from benchmarks.retrieval.quality import PUBLISHED, Figures, rows_of
from retrieval.query import SearchQuery


def figures(bm25: float, dense: float, default: float) -> Figures:
    ours = {"bm25": bm25, "dense": dense, SearchQuery("").mode: default, "rrf": 0.5}
    return Figures(100, ours, {"bm25": 0.4, "dense": 0.6, "rrf": 0.5, "whitespace": 0.88})


def test_rows_are_held_to_their_bounds() -> None:
    measured = {
        "scifact": figures(0.658, 0.6, 0.7),
        "heq": figures(0.89, 0.18, 0.87),
    }
    rows = {row.id: row for row in rows_of(measured)}
    assert (
        rows["retrieval.scifact.bm25"].met
        and "bm25s with its English stop-words: 0.4000" in rows["retrieval.scifact.bm25"].peer
    )
    assert not rows["retrieval.scifact.dense"].met, "0.6 is more than 0.005 below what is published"
    assert rows["retrieval.scifact"].value == 0.7 and rows["retrieval.scifact"].met
    assert rows["retrieval.heq"].at_least == pytest.approx(0.99 * 0.89, abs=1e-4) and not rows["retrieval.heq"].met
    assert rows["retrieval.default_mean"].peer == "scifact 6.38, heq -2.25"
    assert rows["retrieval.heq.best"].at_least == 0.88 and rows["retrieval.heq.best"].met
    assert rows["retrieval.default_mean"].value == pytest.approx((6.38 - 2.25) / 2, abs=0.01)
    assert rows["retrieval.best_english"].value == pytest.approx(6.38), "Hebrew is not among the English sets"


def test_every_published_set_has_a_run_file() -> None:
    from benchmarks.whole_runs import RUNS

    assert all((RUNS / f"{name}.yaml").is_file() for name in PUBLISHED)


def test_the_plain_way_finds_words_and_vectors() -> None:
    ids, texts = ["a", "b", "c"], ["red cat", "blue dog", "green bird"]
    assert by_words(ids, texts, ["the dog", "cat"])[0][0] == "b"
    assert by_words(ids, ["Red, cat", "blue dog", "x"], ["red,"], whitespace=True)[0][0] == "a"
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    assert by_vectors(ids, vectors, vectors[2:]) == [["c", "b", "a"]]


def test_fusion_adds_reciprocal_ranks() -> None:
    assert fused([["a", "b", "c"]], [["c", "a"]]) == [["a", "c", "b"]]
    assert fused([["b", "a"]], [["a", "b"]]) == [["a", "b"]], "equal sums by id"


def test_training_questions_choose_between_hybrid_and_boosted_trees() -> None:
    def judged(learned_p: float, better: float) -> Judged:
        figures = {"bm25": 0.5, "dense": 0.4, "hybrid": 0.55, "trees": 0.6}
        return Judged(figures, 100, 0.5, {"first": 0.5, "reranked": better}, learned_p)

    assert [judged(p, better).chosen for p, better in ((0.01, 0.6), (0.2, 0.6), (0.01, 0.4))] == [
        "trees",
        "hybrid",
        "hybrid",
    ]
    rows = {row.id: row for row in rows_of_trees({"a": judged(0.01, 0.6), "b": judged(0.2, 0.6)})}
    assert rows["retrieval.chosen_english"].value == 15.0 and rows["retrieval.chosen_english"].met
    assert rows["retrieval.boosted.a"].value == 0.6
