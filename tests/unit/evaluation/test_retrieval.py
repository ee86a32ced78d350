"""Evaluation of search: a search of known quality gets the figures it deserves, whatever the batches."""

from collections.abc import Sequence

import pytest

from evaluation.config import EvaluateConfig
from evaluation.retrieval import evaluate_retrieval
from retrieval.config import Mode
from retrieval.hits import SearchHit

QUERIES = {f"q{n}": f"question {n}" for n in range(30)} | {"unjudged": "question 99", "zeros": "question 98"}
QRELS = {f"q{n}": {f"d{n}": 2, f"d{n + 1}": 1} for n in range(30)} | {"zeros": {"d0": 0}, "no text": {"d0": 1}}


def hit(document: str) -> SearchHit:
    return SearchHit(document, f"{document}#0", document, "", 0, 0, 0.5, {})  # equal scores: only the order counts


class Graded:
    """Hybrid answers perfectly, dense turns the two around, bm25 finds nothing for odd questions."""

    def __init__(self) -> None:
        self.batches: list[tuple[Mode, int]] = []

    def __call__(self, texts: Sequence[str], mode: Mode, top_k: int) -> list[list[SearchHit]]:
        assert top_k == 100
        self.batches.append((mode, len(texts)))
        answers = []
        for text in texts:
            n = int(text.split()[1])
            first, second = hit(f"d{n}"), hit(f"d{n + 1}")
            answers.append({"hybrid": [first, second], "dense": [second, first], "bm25": [first] * (n % 2 == 0)}[mode])
        return answers


@pytest.mark.parametrize("batch_queries", [1, 7, 64])
def test_each_mode_gets_what_it_deserves(batch_queries: int) -> None:
    search = Graded()
    table, details = evaluate_retrieval(
        search, QUERIES, QRELS, EvaluateConfig(batch_queries=batch_queries, resamples=500)
    )
    assert list(table) == ["bm25", "dense", "hybrid"]
    assert table["hybrid"]["ndcg@10"] == 1.0
    assert 0.7 < table["dense"]["ndcg@10"] < 1.0
    assert table["dense"]["recall@100"] == table["dense"]["mrr@10"] == 1.0
    assert table["bm25"]["hit@1"] == 0.5
    assert table["bm25"]["recall@100"] == 0.25
    assert all(size <= max(10, batch_queries) for _, size in search.batches)  # ten: the losses, asked for anew
    asked = [size for mode, size in search.batches if mode == "hybrid"]
    assert sum(asked) == 1 + 30 + 10 + 10  # once before, all, and the losses of the two others
    assert details["queries"] == 30
    counts = {key: details[key] for key in ("without_judgements", "without_relevant", "without_text")}
    assert counts == {"without_judgements": 1, "without_relevant": 1, "without_text": 1}


def test_details_say_what_is_chance_and_where_each_mode_loses() -> None:
    _, details = evaluate_retrieval(Graded(), QUERIES, QRELS, EvaluateConfig(resamples=500))
    assert (details["default"], details["metric"]) == ("hybrid", "ndcg@10")
    by_pair = {(row["a"], row["b"]): row for row in details["comparisons"] if row["metric"] == "ndcg@10"}
    assert set(by_pair) == {("hybrid", "bm25"), ("hybrid", "dense"), ("bm25", "dense")}
    assert by_pair["hybrid", "bm25"]["p_holm"] < 0.01 and by_pair["hybrid", "dense"]["difference"] > 0
    assert len(details["comparisons"]) == 3 * 7
    assert details["intervals"]["hybrid"]["ndcg@10"] == pytest.approx((1.0, 1.0))
    low, high = details["intervals"]["bm25"]["hit@1"]
    assert 0.2 < low < 0.5 < high < 0.8
    assert details["recall_curve"]["dense"][:2] == [0.5, 1.0]
    assert [len(curve) for curve in details["recall_curve"].values()] == [100] * 3
    assert details["win_loss"]["dense"]["worse"] == 30 and "hybrid" not in details["win_loss"]
    assert {mode: len(rows) for mode, rows in details["losses"].items()} == {"bm25": 10, "dense": 10, "hybrid": 0}
    assert all(0 <= times["median"] <= times["p95"] for times in details["milliseconds"].values())


def test_any_metrics_are_measured_and_the_first_decides() -> None:
    config = EvaluateConfig(metrics=("p@2", "rprec", "recall(rel=2)@1"), resamples=100)
    table, details = evaluate_retrieval(Graded(), QUERIES, QRELS, config, default="dense")
    assert list(table["dense"]) == ["p@2", "rprec", "recall(rel=2)@1"]
    assert table["dense"] == {"p@2": 1.0, "rprec": 1.0, "recall(rel=2)@1": 0.0}
    assert (details["default"], details["metric"]) == ("dense", "p@2")
    assert details["win_loss"]["hybrid"]["equal"] == 30
    assert details["comparisons"][0]["a"] == "dense"


def test_nothing_to_judge_by_is_refused_before_anything_is_asked() -> None:
    search = Graded()
    with pytest.raises(ValueError, match="nothing to judge by"):
        evaluate_retrieval(search, QUERIES, {"zeros": {"d0": 0}}, EvaluateConfig())
    assert search.batches == []


def test_questions_are_encoded_once_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.retrieval.ENCODED_AT_ONCE", 8)
    search, batches = Graded(), list[list[str]]()

    def encode(texts: Sequence[str]) -> None:
        assert not search.batches
        batches.append(list(texts))

    _, details = evaluate_retrieval(search, QUERIES, QRELS, EvaluateConfig(resamples=100), encode=encode)
    first, *rest = batches
    assert len(first) == 1, "so that nothing is loaded while seconds are counted"
    assert [len(batch) for batch in rest] == [8, 8, 8, 6]
    assert sorted(text for batch in rest for text in batch) == sorted(f"question {n}" for n in range(30))
    assert 0 <= details["encoding_ms"]["median"] <= details["encoding_ms"]["p95"]
