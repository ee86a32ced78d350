"""The benchmark of evaluation on a few queries: equal figures, rows in their form."""

import pytest

from benchmarks import evaluation


def test_both_give_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BLOCK", 4)
    ratio, memory = evaluation.measure(queries=10)
    assert ratio.id == "evaluation.ratio" and ratio.value > 0 and "10 queries" in ratio.what
    assert float(ratio.peer.rsplit(" ", 1)[1]) < 1e-6
    assert memory.unit == "MB" and memory.value >= 0


def test_results_and_judgements_are_the_same_each_time() -> None:
    [(query, result)] = list(evaluation.results(3, 1))
    assert query == "q3" and len(result) == evaluation.HITS
    assert list(evaluation.results(3, 1)) == [(query, result)]
    judged = evaluation.judgements(3, result)
    assert judged == evaluation.judgements(3, result)
    assert 0 < sum(document in result for document, grade in judged.items() if grade) <= evaluation.RELEVANT // 2
