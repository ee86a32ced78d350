"""Ranks of triples beside a plain count, and the scorers that need no training."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.graph.graph import GraphArtifact
from evaluation.config import LinkJudging
from evaluation.triples import TripleScorer, both_ways, frequency, judge_triples, nearest_text, triple_questions
from evaluation.triples import triple_ranks as ranks_of

NODES, RELATIONS = 6, 3
TRIPLE = st.tuples(st.integers(0, NODES - 1), st.integers(0, RELATIONS - 1), st.integers(0, NODES - 1))
TRIPLES = st.lists(TRIPLE, min_size=1, max_size=12, unique=True)


def graph_of(*splits: list[tuple[int, int, int]], vectors: np.ndarray | None = None) -> GraphArtifact:
    """A graph of training, validation and test triples."""
    triples = np.array([triple for split in splits for triple in split], np.int64).reshape(-1, 3)
    return GraphArtifact(
        ids=[f"d{node}" for node in range(NODES)],
        titles=[""] * NODES,
        vectors=np.eye(NODES, dtype=np.float32) if vectors is None else vectors,
        pairs=triples[:, [0, 2]],
        split=np.repeat([0, 1, 2], [len(split) for split in splits]).astype(np.int8),
        relation=triples[:, 1].astype(np.int32),
        relation_names=[f"r{number}" for number in range(RELATIONS)],
    )


def few_values(seed: int) -> TripleScorer:
    """Scores with many ties, that depend on head and relation."""
    table = np.random.default_rng(seed).integers(0, 3, (NODES, 2 * RELATIONS, NODES)).astype(np.float32)
    return lambda heads, relations: table[heads, relations]


@settings(deadline=None, max_examples=100)
@given(TRIPLES, st.integers(0, 5), st.integers(1, 7), st.data())
def test_ranks_are_those_of_a_plain_count(
    triples: list[tuple[int, int, int]], seed: int, batch: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(triples) - 1))
    train, test = triples[:cut], triples[cut:]
    score, questions = few_values(seed), triple_questions(graph_of(train, [], test))
    found = ranks_of(score, questions, batch)
    ways = both_ways(np.array(triples), RELATIONS).tolist()
    seen = {(way, answer) for _, way, answer in both_ways(np.array(train).reshape(-1, 3), RELATIONS).tolist()}
    for place, (head, way, answer) in enumerate(both_ways(np.array(test), RELATIONS).tolist()):
        row = score(np.array([head]), np.array([way]))[0]
        for constrained in (False, True):
            rivals = [
                row[other]
                for other in range(NODES)
                if [head, way, other] not in ways and (not constrained or (way, other) in seen)
            ]
            above, level = sum(r > row[answer] for r in rivals), sum(r == row[answer] for r in rivals)
            assert found[int(constrained)].ravel()[place] == 1 + above + level / 2


def test_validation_is_not_told_of_test_triples() -> None:
    valid, test = (triple_questions(graph_of([], [(0, 0, 1)], [(0, 0, 2)]), part) for part in ("valid", "test"))
    known = [asked.known.of(np.array([0]), np.array([0]))[1].tolist() for asked in (valid, test)]
    assert known == [[1], [1, 2]]


def test_a_constant_scorer_gains_nothing_and_a_loop_is_a_triple() -> None:
    questions = triple_questions(graph_of([(0, 0, 1)], [], [(2, 1, 2)]))
    ranks, typed = ranks_of(lambda heads, relations: np.zeros((len(heads), NODES), np.float32), questions)
    assert ranks.tolist() == [[3.5], [3.5]], "(n + 1) / 2 of n entities, the head itself among them"
    assert typed.tolist() == [[1.0], [1.0]], "no entity has the type of a relation that training has not seen"


@pytest.mark.parametrize(
    "scores",
    [lambda h, r: np.zeros((len(h), 2), np.float32), lambda h, r: np.full((len(h), NODES), np.nan, np.float32)],
)
def test_scores_of_another_shape_or_kind_are_refused(scores: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        ranks_of(scores, triple_questions(graph_of([], [], [(0, 0, 1)])))
    with pytest.raises(ValueError, match="infinite"):
        endless = lambda h, r: np.full((len(h), NODES), -np.inf, np.float32)  # noqa: E731
        ranks_of(endless, triple_questions(graph_of([], [], [(0, 0, 1)])))


def test_frequency_counts_answers_of_the_relation_in_either_direction() -> None:
    score = frequency(np.array([[0, 0, 1], [2, 0, 1], [0, 0, 3], [4, 2, 5]]), RELATIONS, NODES)
    assert score(np.array([5, 5, 0]), np.array([0, RELATIONS, 1])).tolist() == [
        [0, 2, 0, 1, 0, 0],
        [2, 0, 1, 0, 0, 0],
        [0] * 6,
    ]


def test_figures_of_a_scorer_that_knows_all() -> None:
    vectors = np.eye(NODES, dtype=np.float32)
    vectors[1] = vectors[0]  # the text of 0 is that of 1
    questions = triple_questions(graph_of([(0, 0, 2)], [(3, 1, 3)], [(0, 1, 1)], vectors=vectors))
    judged = judge_triples("text", nearest_text(vectors), questions, LinkJudging(resamples=100))
    assert judged.ranks.tolist() == [[1.5], [1.5]], "the head is as near as the tail"
    assert (
        judged.figures["mrr"] == pytest.approx(2 / 3) and judged.figures["hit@1"] == 0 and judged.figures["hit@3"] == 1
    )
    assert questions.degrees.tolist() == [0] and questions.as_links().relations.tolist() == [1]
