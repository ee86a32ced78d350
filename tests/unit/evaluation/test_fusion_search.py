"""The way to fuse that training questions choose: found where it is clearly better, not proposed where it is chance."""

import numpy as np
import pytest

from evaluation.fusion_search import halves, search_fusion
from evaluation.fusions import AskedLists, ways
from retrieval.index import Hit, point_id
from retrieval.weights import Fusion

QUESTIONS, DEPTH = 60, 20


def asked(good_bm25: float, seed: int = 0) -> tuple[AskedLists, dict[str, dict[str, int]]]:
    """Lists of which that of words has the answer first in a share of the questions, and that of vectors by chance."""
    rng = np.random.default_rng(seed)
    lists, qrels = {}, {}
    for question in range(QUESTIONS):
        ids = [f"p{i}" for i in rng.permutation(200)[: 2 * DEPTH]]
        words, vectors = ids[:DEPTH], ids[DEPTH:]
        answer = words[0] if rng.random() < good_bm25 else vectors[0]
        score = np.sort(rng.random(DEPTH))[::-1]
        lists[f"q{question}"] = {
            name: [Hit(point_id(id_), float(s), {"document_id": f"of {id_}"}) for id_, s in zip(of, score, strict=True)]
            for name, of in (("bm25", words), ("dense", vectors))
        }
        qrels[f"q{question}"] = {f"of {answer}": 1}
    return AskedLists(lists, DEPTH), qrels  # type: ignore[arg-type]


def test_a_list_that_is_better_gets_the_weight() -> None:
    lists, qrels = asked(good_bm25=1.0)
    tuned = search_fusion(lists, qrels, Fusion(weights={"dense": 0.9, "bm25": 0.1}), 200, 0)
    assert tuned.better and tuned.best.weights["bm25"] > tuned.best.weights["dense"]
    assert tuned.scores["default"] < tuned.scores["held_out"] <= tuned.scores["best"] == pytest.approx(1.0)


def test_what_may_be_chance_is_not_proposed() -> None:
    proposed = [search_fusion(*asked(0.5, seed), Fusion(), 200, 0).better for seed in range(6)]
    assert proposed.count(True) <= 1


def test_documents_are_ranked_by_their_best_passage() -> None:
    hits = [
        Hit(point_id(id_), 1.0 - n / 10, {"document_id": document})
        for n, (id_, document) in enumerate(zip("abc", "xxy", strict=True))
    ]
    run = AskedLists({"q": {"dense": hits}}, 3).run(Fusion())
    assert run == {"q": {"x": 0.0, "y": -2.0}}


def test_every_method_is_tried_with_each_list_alone() -> None:
    tried = list(ways())
    for method in ("sum", "rrf", "dbsf"):
        weights = [way.weights for way in tried if way.method == method]
        assert {"dense": 0.0, "bm25": 1.0} in weights and {"dense": 1.0, "bm25": 0.0} in weights


def test_halves_share_no_question_and_are_the_same_for_a_seed() -> None:
    ids = [f"q{i}" for i in range(41)]
    ours, others = halves(ids, 0)
    assert set(ours) | set(others) == set(ids) and not set(ours) & set(others) and abs(len(ours) - len(others)) == 1
    assert halves(list(reversed(ids)), 0) == (ours, others) != halves(ids, 1)
    with pytest.raises(ValueError, match="fewer than 5 folds"):
        search_fusion(AskedLists({}, 5), {}, Fusion(), 100, 0)
