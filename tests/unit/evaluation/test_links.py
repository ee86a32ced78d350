"""Link ranks against a slow, obvious implementation; ties, filters and refusals."""

import numpy as np
import pytest

from data.graph.graph import Graph
from evaluation.links import (
    Nodes,
    Scorer,
    both_directions,
    hit_curve,
    link_metrics,
    link_ranks,
    unordered_pairs,
)


def random_graph(num_nodes: int, links: int, seed: int) -> tuple[Nodes, Nodes, Graph]:
    rng = np.random.default_rng(seed)
    sources, targets = unordered_pairs(*rng.integers(0, num_nodes, (2, links)))
    return sources, targets, Graph.from_pairs(sources, targets, num_nodes)


def scorer_of(table: np.ndarray) -> Scorer:
    return lambda sources: table[sources]


def slow_rank(scores: np.ndarray, source: int, target: int, known: Graph) -> float:
    neighbours = set(known.indices[known.indptr[source] : known.indptr[source + 1]].tolist())
    rivals = [n for n in range(known.num_nodes) if n not in neighbours | {source, target}]
    above = sum(scores[source, n] > scores[source, target] for n in rivals)
    level = sum(scores[source, n] == scores[source, target] for n in rivals)
    optimistic, pessimistic = 1 + above, 1 + above + level
    return float((optimistic + pessimistic) / 2)


@pytest.mark.parametrize("distinct", [3, 1000])
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_equals_the_slow_definition(distinct: int, batch_size: int) -> None:
    sources, targets, known = random_graph(60, 200, seed=1)
    table = np.random.default_rng(2).integers(0, distinct, (60, 60)).astype(np.float32)
    asked, answers = both_directions(sources, targets)
    shuffled = np.random.default_rng(3).permutation(len(asked))
    asked, answers = asked[shuffled], answers[shuffled]
    ranks = link_ranks(scorer_of(table), asked, answers, known, batch_size)
    wanted = [slow_rank(table, int(u), int(v), known) for u, v in zip(asked, answers, strict=True)]
    assert ranks.tolist() == wanted


def test_a_constant_scorer_stands_in_the_middle() -> None:
    known = Graph.from_pairs(np.array([0]), np.array([1]), 101)
    ranks = link_ranks(lambda sources: np.zeros((len(sources), 101), np.float32), np.array([0]), np.array([1]), known)
    assert ranks.tolist() == [(100 + 1) / 2]


def test_each_source_is_scored_once_and_its_scores_left_alone() -> None:
    sources, targets, known = random_graph(40, 150, seed=4)
    table = np.random.default_rng(5).random((40, 40), np.float32)
    before = table.copy()
    seen: list[int] = []

    def score(batch: Nodes) -> np.ndarray:
        seen.extend(batch.tolist())
        assert len(batch) <= 8
        return table[batch[0] : batch[0] + 1] if len(batch) == 1 else table[batch]

    link_ranks(score, sources, targets, known, batch_size=8)
    assert seen == sorted(set(sources.tolist()))
    np.testing.assert_array_equal(table, before)


def test_a_nan_or_a_wrong_shape_is_refused() -> None:
    known = Graph.from_pairs(np.array([0]), np.array([1]), 3)
    one, two = np.array([0]), np.array([1])
    with pytest.raises(ValueError, match=r"must return \(1, 3\)"):
        link_ranks(lambda s: np.full((len(s), 3), np.nan, np.float32), one, two, known)
    with pytest.raises(ValueError, match=r"must return \(1, 3\)"):
        link_ranks(lambda s: np.zeros((len(s), 2), np.float32), one, two, known)
    with pytest.raises(ValueError, match="linked to itself"):
        link_ranks(lambda s: np.zeros((len(s), 3), np.float32), one, one, known)


def test_metrics_of_known_ranks() -> None:
    figures = link_metrics(np.array([1.0, 2.0, 10.5, 200.0]), (10, 100))
    assert figures == {
        "mrr": pytest.approx((1 + 0.5 + 1 / 10.5 + 1 / 200) / 4),
        "hit@10": 0.5,
        "hit@100": 0.75,
        "mean_rank": 53.375,
    }
    with pytest.raises(ValueError, match="no held-out links"):
        link_metrics(np.array([]))


def test_the_hit_curve_rises_to_one() -> None:
    curve = hit_curve(np.array([1.0, 3.0, 50.0, 999.0]), 1000)
    assert curve[0] == (1, 0.25)
    assert curve[-1] == (999, 1.0)
    shares = [share for _, share in curve]
    assert shares == sorted(shares)


def test_unordered_pairs_drop_repeats_and_self_links() -> None:
    low, high = unordered_pairs(np.array([3, 1, 1, 2]), np.array([1, 3, 1, 0]))
    assert low.tolist() == [0, 1]
    assert high.tolist() == [2, 3]
