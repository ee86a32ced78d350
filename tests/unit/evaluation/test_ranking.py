"""Ranking figures against ir-measures and pytrec_eval, which share trec_eval's code."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from ir_measures import AP, RR, P, R, Rprec, Success, nDCG

from evaluation.ranking import evaluate_ranking, judge_ranking, recall_curve

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]

MEASURES = {
    "ndcg@10": nDCG @ 10,
    "ndcg@3": nDCG @ 3,
    "ndcg": nDCG,
    "ndcg(rel=1)@10": nDCG(gains={2: 1, 3: 1}) @ 10,
    "recall@100": R @ 100,
    "recall(rel=2)@5": R(rel=2) @ 5,
    "p@5": P @ 5,
    "p(rel=2)@20": P(rel=2) @ 20,
    "mrr": RR,
    "mrr(rel=3)": RR(rel=3),
    "map": AP,
    "map@7": AP @ 7,
    "map(rel=2)": AP(rel=2),
    "hit@1": Success @ 1,
    "hit@5": Success @ 5,
    "hit@10": Success @ 10,
    "rprec": Rprec,
    "rprec(rel=2)": Rprec(rel=2),
}


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


def assert_equals_ir_measures(run: Run, qrels: Qrels) -> None:
    """Every metric of every query, and the means.

    Each is asked for alone: beside a measure with gains of its own, ir-measures computes nDCG by those gains in some
    orders of its set of measures.
    """
    figures = evaluate_ranking(run, qrels, list(MEASURES))
    for name, measure in MEASURES.items():
        expected = {row.query_id: row.value for row in ir_measures.iter_calc([measure], qrels, run)}
        wanted = np.array([expected[query] for query in figures.queries])
        np.testing.assert_allclose(figures.per_query[name], wanted, atol=1e-6, err_msg=name)
        assert figures.means[name] == pytest.approx(np.mean(wanted), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("distinct_scores", [None, 12, 1])
def test_equals_ir_measures(seed: int, distinct_scores: int | None) -> None:
    assert_equals_ir_measures(*random_case(seed, distinct_scores))


@pytest.mark.parametrize("corpus", ["scifact", "cranfield", "heq", "metatool"])
def test_equals_ir_measures_on_real_judgements(corpus: str, data_root: Path) -> None:
    """Random results that hold some of the relevant documents, with ties; grades of Cranfield are its own codes."""
    rows = [line.split("\t") for line in (data_root / corpus / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    qrels: Qrels = {}
    for query, document, grade in rows:
        qrels.setdefault(query, {})[document] = int(grade)
    chosen = dict(list(qrels.items())[:300])
    rng = np.random.default_rng(0)
    documents = sorted({document for _, document, _ in rows})
    run: Run = {}
    for query, grades in chosen.items():
        others = rng.choice(documents, min(120, len(documents)), replace=False).tolist()
        held = [document for document in grades if rng.random() < 0.7]
        run[query] = {document: float(rng.integers(0, 40)) for document in dict.fromkeys([*held, *others])}
    assert_equals_ir_measures(run, chosen)


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


@pytest.mark.parametrize("distinct_scores", [None, 12])
def test_a_cut_reciprocal_rank_is_the_whole_one_up_to_the_cut(distinct_scores: int | None) -> None:
    run, qrels = random_case(3, distinct_scores)
    figures = evaluate_ranking(run, qrels, ["mrr", "mrr@10"])
    whole = figures.per_query["mrr"]
    np.testing.assert_allclose(figures.per_query["mrr@10"], np.where(whole >= 0.1, whole, 0.0))


def test_equals_the_reciprocal_rank_of_ms_marco_where_nothing_is_tied() -> None:
    run, qrels = random_case(5, None)
    figures = evaluate_ranking(run, qrels)
    theirs = {row.query_id: row.value for row in ir_measures.iter_calc([RR @ 10], qrels, run)}
    np.testing.assert_allclose(figures.per_query["mrr@10"], [theirs[query] for query in figures.queries])


def test_a_stream_of_results_gives_the_same_whatever_its_order() -> None:
    run, qrels = random_case(6, 12)
    looked_at: Counter[str] = Counter()

    def stream() -> Iterator[tuple[str, dict[str, float]]]:
        for query in reversed(run):
            looked_at[query] += 1
            yield query, run[query]

    whole, streamed = evaluate_ranking(run, qrels), evaluate_ranking(stream(), qrels)
    assert looked_at == dict.fromkeys(run, 1)
    for name, values in whole.per_query.items():
        np.testing.assert_array_equal(streamed.per_query[name], values)


def test_the_recall_curve_is_recall_at_each_k() -> None:
    run, qrels = random_case(7, 12)
    curve = recall_curve(judge_ranking(run, qrels), 50)
    names = [f"recall@{k}" for k in range(1, 51)]
    np.testing.assert_allclose(curve, list(evaluate_ranking(run, qrels, names).means.values()))
    assert 0 < curve[0] < curve[-1] < 1


def test_queries_without_a_relevant_document_are_left_out_and_counted() -> None:
    figures = evaluate_ranking({"a": {"x": 1.0}}, {"a": {"x": 1}, "b": {"x": 0}, "c": {}})
    assert figures.queries == ["a"]
    assert figures.without_relevant == 2
    assert figures.means["ndcg@10"] == 1.0


def test_a_judged_query_that_was_not_answered_counts_zero() -> None:
    figures = evaluate_ranking({"a": {"x": 1.0}}, {"a": {"x": 1}, "b": {"x": 1}})
    assert figures.means == pytest.approx(dict.fromkeys(figures.per_query, 0.5))


@pytest.mark.parametrize("run", [{}, {"a": {}}, {"a": {"y": 1.0}}])
def test_results_without_anything_relevant_score_zero(run: Run) -> None:
    assert set(evaluate_ranking(run, {"a": {"x": 2}}).means.values()) == {0.0}


def test_scores_beyond_32_bits_are_tied_as_in_trec_eval() -> None:
    ranked = evaluate_ranking({"a": {"x": 1e300, "y": 1e200, "z": 1.0}}, {"a": {"x": 1}}, ["mrr"])
    assert ranked.means["mrr"] == 0.5  # both infinite, and y is the later name


@pytest.mark.parametrize(
    ("run", "qrels", "message"),
    [
        ({"a": {"x": 1.0}}, {"a": {"x": 0}}, "nothing to judge by"),
        ({"a": {"x": 1.0, "y": float("nan")}}, {"a": {"x": 1}}, "result of query 'a' is not a number"),
        ([("a", {"x": 1.0}), ("a", {"y": 1.0})], {"a": {"x": 1}}, "query 'a' has two results"),
    ],
)
def test_what_cannot_be_judged_is_refused(run: Run, qrels: Qrels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_ranking(run, qrels)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric 'nope'"):
        evaluate_ranking({}, {"a": {"x": 1}}, ["nope"])
