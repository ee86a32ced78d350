"""Names of metrics: what they mean, and what is refused in one clear message."""

import numpy as np
import pytest

from evaluation.metrics import DEFAULT_METRICS, Judged, Ranked, parse_metric


def judged() -> Judged:
    """Two queries: one with relevant documents at ranks 2 and 4 of three, grades 2 and 1; one that found nothing."""
    found = Ranked(np.array([0, 0]), np.array([2, 4]), np.array([1.0, 2.0]))
    ideal = Ranked(np.array([0, 0, 0, 1]), np.array([1, 2, 3, 1]), np.array([2.0, 1.0, 1.0, 1.0]))
    return Judged(["a", "b"], found, ideal, 0)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("p@4", 2 / 4),
        ("p@10", 2 / 10),
        ("recall@2", 1 / 3),
        ("recall@4", 2 / 3),
        ("mrr", 1 / 2),
        ("mrr@1", 0.0),
        ("map", (1 / 2 + 2 / 4) / 3),
        ("map@3", (1 / 2) / 3),
        ("hit@1", 0.0),
        ("hit@2", 1.0),
        ("rprec", 1 / 3),
        ("ndcg", (1 / np.log2(3) + 2 / np.log2(5)) / (2 + 1 / np.log2(3) + 1 / np.log2(4))),
        ("ndcg@2", (1 / np.log2(3)) / (2 + 1 / np.log2(3))),
        ("ndcg(rel=2)@4", 1 / np.log2(5)),
        ("ndcg(rel=1)@4", (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / np.log2(4))),
        ("mrr(rel=2)", 1 / 4),
        ("recall(rel=2)@4", 1.0),
        ("rprec(rel=3)", 0.0),
    ],
)
def test_values_by_hand(name: str, wanted: float) -> None:
    np.testing.assert_allclose(parse_metric(name)(judged()), [wanted, 0.0])


def test_titles_are_for_people() -> None:
    assert [parse_metric(name).title for name in ("ndcg@10", "p@5", "map", "rprec", "recall(rel=2)@100")] == [
        "nDCG@10",
        "Precision@5",
        "MAP",
        "R-precision",
        "Recall@100, grade 2+",
    ]
    assert [parse_metric(name).name for name in DEFAULT_METRICS] == list(DEFAULT_METRICS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "unknown metric 'ndgc@10'; did you mean 'ndcg'"),
        ("", "unknown metric ''; allowed: hit, map"),
        ("precision", "unknown metric 'precision'"),
        ("NDCG@10", "metric 'NDCG@10' is not of the form ndcg@10"),
        ("ndcg@0", "metric 'ndcg@0' is not of the form"),
        ("map(rel=0)", r"metric 'map\(rel=0\)' is not of the form"),
        ("recall", "metric 'recall' needs a cut-off, such as recall@10"),
        ("rprec@10", "metric 'rprec@10' takes no cut-off: write rprec"),
    ],
)
def test_what_is_no_metric_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metric(name)
