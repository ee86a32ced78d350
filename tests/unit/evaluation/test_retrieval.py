"""Evaluation of search: a search of known quality gets the figures it deserves, whatever the batches."""

from collections.abc import Sequence

import pytest

from evaluation.config import EvaluateConfig
from evaluation.retrieval import evaluate_retrieval
from retrieval.config import Mode
from retrieval.search import SearchHit

QUERIES = {f"q{n}": f"question {n}" for n in range(30)} | {"unjudged": "question 99", "zeros": "question 98"}
QRELS = {f"q{n}": {f"d{n}": 2, f"d{n + 1}": 1} for n in range(30)} | {"zeros": {"d0": 0}}


def hit(document: str) -> SearchHit:
    return SearchHit(document, f"{document}#0", document, "", 0, 0, 0.5, {})  # equal scores: only the order counts


class Graded:
    """Hybrid answers perfectly, dense turns the two around, bm25 finds nothing for odd questions."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, texts: Sequence[str], mode: Mode, top_k: int) -> list[list[SearchHit]]:
        assert top_k == 100
        self.batches.append(len(texts))
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
    assert table["hybrid"]["ndcg@10"] == 1.0
    assert 0.7 < table["dense"]["ndcg@10"] < 1.0
    assert table["dense"]["recall@100"] == table["dense"]["mrr@10"] == 1.0
    assert table["bm25"]["hit@1"] == 0.5
    assert table["bm25"]["recall@100"] == 0.25
    assert max(search.batches) <= batch_queries
    assert sum(search.batches) == 3 * 30
    assert details["queries"] == 30
    assert details["without_relevant"] == 2
    assert details["comparisons"]["bm25"]["p_value"] < 0.01
    assert details["comparisons"]["dense"]["difference"] > 0
