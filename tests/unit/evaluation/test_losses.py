"""Which queries are lost, to whom, and what stands in their place."""

from collections.abc import Sequence

import numpy as np

from evaluation.losses import MOST, POINTS, win_loss, worst_losses
from retrieval.config import Mode
from retrieval.hits import SearchHit

ANSWERS: dict[Mode, list[str]] = {
    "hybrid": ["good", "other"],
    "bm25": ["bad", "worse", "worst", "good"],
    "dense": ["bad"],
}


def search(texts: Sequence[str], mode: Mode, top_k: int) -> list[list[SearchHit]]:
    hits = [SearchHit(name, f"{name}#0", f"The {name}", "word " * 99, 0, 9, 1.0, {}) for name in ANSWERS[mode]]
    return [hits[:top_k] for _ in texts]


def test_wins_and_losses_are_counted_and_sorted() -> None:
    found = win_loss(np.array([0.5, 1.0, 0.0, 0.25]), np.array([0.5, 0.25, 0.5, 0.25]))
    assert found == {"better": 1, "equal": 2, "worse": 1, "differences": [0.75, 0.0, 0.0, -0.5]}


def test_a_curve_of_many_queries_keeps_its_ends() -> None:
    values = np.linspace(-1, 1, 10_001)
    found = win_loss(values, np.zeros(10_001))
    assert (found["better"], found["equal"], found["worse"]) == (5000, 1, 5000)
    assert len(found["differences"]) == POINTS
    assert (found["differences"][0], found["differences"][-1]) == (1.0, -1.0)
    assert found["differences"] == sorted(found["differences"], reverse=True)


def test_the_worst_losses_come_first_with_what_was_found_instead() -> None:
    queries = {f"q{n:02d}": f"question {n}" for n in range(20)}
    qrels = {query: {"good": 1, "bad": 0} for query in queries}
    values = {
        "bm25": np.linspace(0.9, 0.0, 20),
        "dense": np.array([1.0] + [0.0] * 19),
        "hybrid": np.full(20, 0.95),
    }
    losses = worst_losses(search, queries, qrels, values, "hybrid", 100)
    assert [row["query"] for row in losses["bm25"]] == [f"q{n:02d}" for n in range(19, 19 - MOST, -1)]
    worst = losses["bm25"][0]
    assert (worst["text"], worst["value"], worst["against"], worst["against_value"]) == (
        "question 19",
        0.0,
        "hybrid",
        0.95,
    )
    [wanted] = worst["wanted"]
    assert (wanted["id"], wanted["name"], wanted["rank"], wanted["rank_against"]) == ("good", "The good", 4, 1)
    assert wanted["text"].endswith(" …") and len(wanted["text"]) < 170
    assert [(one["id"], one["relevant"]) for one in worst["found"]] == [
        ("bad", False),
        ("worse", False),
        ("worst", False),
    ]
    assert losses["dense"][0]["wanted"][0]["rank"] is None
    # the default one against the best of the others: dense wins one question
    assert [(row["query"], row["against"]) for row in losses["hybrid"]] == [("q00", "dense")]


def test_what_loses_nothing_has_no_rows() -> None:
    queries, qrels = {"q": "question"}, {"q": {"good": 1}}
    assert worst_losses(search, queries, qrels, {"hybrid": np.ones(1)}, "hybrid", 10) == {"hybrid": []}
    even = {"hybrid": np.ones(1), "dense": np.ones(1)}
    assert worst_losses(search, queries, qrels, even, "hybrid", 10) == {"hybrid": [], "dense": []}
