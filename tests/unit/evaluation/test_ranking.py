"""Ranking figures against ir-measures and pytrec_eval, which share trec_eval's code."""

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from ir_measures import AP, RR, R, Success, nDCG

from evaluation.ranking import evaluate_ranking, hit_rate

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]


def random_case(seed: int, distinct_scores: int | None) -> tuple[Run, Qrels]:
    """Runs of uneven length, grades 0 to 3, judged queries that the run lacks, unjudged queries that it has."""
    rng = np.random.default_rng(seed)
    documents = np.array([f"d{n}" for n in range(300)] + ["Gen.1.1", "ש", "é"])
    run: Run = {}
    qrels: Qrels = {}
    for number in range(40):
        retrieved = rng.choice(documents, int(rng.integers(1, 200)), replace=False)
        scores = rng.random(len(retrieved))
        if distinct_scores is not None:
            scores = np.floor(scores * distinct_scores)
        judged = rng.choice(documents, int(rng.integers(1, 60)), replace=False)
        if number % 7 != 3:
            run[f"q{number}"] = dict(zip(retrieved.tolist(), scores.tolist(), strict=True))
        if number % 5 != 4:
            qrels[f"q{number}"] = dict(zip(judged.tolist(), rng.integers(0, 4, len(judged)).tolist(), strict=True))
    qrels["only zeros"] = {"d0": 0, "d1": 0}
    run["only zeros"] = {"d0": 1.0}
    return run, qrels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("distinct_scores", [None, 12, 1])
def test_equals_ir_measures(seed: int, distinct_scores: int | None) -> None:
    run, qrels = random_case(seed, distinct_scores)
    figures = evaluate_ranking(run, qrels)
    measures = {
        "ndcg@10": nDCG @ 10,
        "recall@100": R @ 100,
        "mrr@10": RR,  # cut below: its own RR@10 is MS MARCO's script, which orders ties differently
        "map": AP,
        "hit@1": Success @ 1,
        "hit@5": Success @ 5,
        "hit@10": Success @ 10,
    }
    expected = {
        (str(row.measure), row.query_id): row.value
        for row in ir_measures.iter_calc(list(measures.values()), qrels, run)
    }
    for name, measure in measures.items():
        wanted = np.array([expected[str(measure), query] for query in figures.queries])
        if name == "mrr@10":
            wanted = np.where(wanted >= 0.1, wanted, 0.0)
        np.testing.assert_allclose(figures.per_query[name], wanted, atol=1e-6, err_msg=name)
        assert figures.means[name] == pytest.approx(np.mean(wanted), abs=1e-6)


@pytest.mark.parametrize("distinct_scores", [None, 5])
def test_equals_pytrec_eval(distinct_scores: int | None) -> None:
    run, qrels = random_case(9, distinct_scores)
    figures = evaluate_ranking(run, qrels)
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map", "success.1,5,10"})
    theirs = judge.evaluate(run)
    names = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "map": "map", "hit@5": "success_5"}
    for ours, name in names.items():
        wanted = [theirs[query][name] if query in run else 0.0 for query in figures.queries]
        np.testing.assert_allclose(figures.per_query[ours], wanted, atol=1e-6, err_msg=name)


def test_equals_the_reciprocal_rank_of_ms_marco_where_nothing_is_tied() -> None:
    run, qrels = random_case(5, None)
    figures = evaluate_ranking(run, qrels)
    theirs = {row.query_id: row.value for row in ir_measures.iter_calc([RR @ 10], qrels, run)}
    np.testing.assert_allclose(figures.per_query["mrr@10"], [theirs[query] for query in figures.queries])


def test_queries_without_a_relevant_document_are_left_out_and_counted() -> None:
    figures = evaluate_ranking({"a": {"x": 1.0}}, {"a": {"x": 1}, "b": {"x": 0}, "c": {}})
    assert figures.queries == ["a"]
    assert figures.without_relevant == 2
    assert figures.means["ndcg@10"] == 1.0


def test_a_judged_query_that_was_not_answered_counts_zero() -> None:
    figures = evaluate_ranking({"a": {"x": 1.0}}, {"a": {"x": 1}, "b": {"x": 1}})
    assert figures.means == pytest.approx(dict.fromkeys(figures.per_query, 0.5))


def test_an_empty_run_scores_zero() -> None:
    assert set(evaluate_ranking({}, {"a": {"x": 2}}).means.values()) == {0.0}


def test_nothing_relevant_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to judge by"):
        evaluate_ranking({"a": {"x": 1.0}}, {"a": {"x": 0}})


def test_a_cut_off_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        hit_rate(np.array([1]), 0)
