"""Cases beside a plain count of votes, and the weights that put features together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.graph.graph import GraphArtifact
from data.matrices import unit_rows
from evaluation.triples import both_ways, triple_questions, triple_ranks
from training.typed.cases import POWER, Cases
from training.typed.stack import Features, Stack, fit_stack


def test_shares_are_votes_of_alike_heads_without_its_own() -> None:
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(9, 4))).astype(np.float32)
    triples = np.unique(rng.integers(0, [9, 2, 9], (25, 3)), axis=0)
    cases, asked = Cases(triples, 2, vectors), both_ways(triples, 2)
    heads, ways = np.repeat(np.arange(9), 4), np.tile(np.arange(4), 9)
    expected = np.zeros((36, 9))
    for row, (head, way) in enumerate(zip(heads, ways, strict=True)):
        for other, its_way, answer in asked:
            if its_way == way and other != head:
                expected[row, answer] += max(float(vectors[head] @ vectors[other]), 0) ** POWER
    expected /= np.maximum(expected.sum(axis=1, keepdims=True), 1e-12)
    assert cases.shares(heads, ways) == pytest.approx(expected, abs=1e-5)


def test_a_relation_without_triples_and_one_with_too_many() -> None:
    vectors = np.eye(4, dtype=np.float32) + 0.5
    none = Cases(np.zeros((0, 3), np.int64), 2, vectors)
    assert not none.shares(np.array([0, 1]), np.array([0, 3])).any()
    many = np.array([[head, 0, tail] for head in range(4) for tail in range(4)])
    drawn = Cases(many, 1, vectors, most=3).shares(np.array([0]), np.array([0]))
    assert drawn.sum() == pytest.approx(1) and np.count_nonzero(drawn) <= 3


def mrr(score: Callable[..., np.ndarray], graph: GraphArtifact) -> float:
    return float((1 / triple_ranks(score, triple_questions(graph, "test"))[0]).mean())


def useless(heads: np.ndarray, ways: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(heads), 48)).astype(np.float32)


def test_the_stack_leans_on_what_is_right_and_is_read_as_written(ring: GraphArtifact, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(scale=0.05, size=ring.vectors.shape)
    graph = replace(ring, vectors=unit_rows(ring.vectors + noise).astype(np.float32))
    cases = Cases(graph.triples("train"), 3, graph.vectors)
    features = Features(useless, cases, graph.vectors)
    stack = fit_stack(features, triple_questions(graph, "valid"))
    assert mrr(stack.answers, graph) > 0.95 * mrr(cases.shares, graph) > 2 * mrr(useless, graph)
    stack.save(tmp_path / "stack.json")
    read = Stack.load(tmp_path / "stack.json", features)
    heads, ways = np.array([3, 9]), np.array([1, 5])
    assert read.answers(heads, ways) == pytest.approx(stack.answers(heads, ways), abs=1e-3)


def test_blocks_change_nothing(ring: GraphArtifact, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features(useless, Cases(ring.triples("train"), 3, ring.vectors), ring.vectors)
    stack = Stack(features, np.tile(np.array([0.0, 1.0, 2.0], np.float32), (6, 1)))
    whole = stack.answers(np.arange(10), np.arange(10) % 6)
    monkeypatch.setattr("training.typed.stack.SCORES_AT_ONCE", 48 * 3)
    assert np.array_equal(stack.answers(np.arange(10), np.arange(10) % 6), whole)


def test_relations_without_validation_triples_take_the_weights_of_all(ring: GraphArtifact) -> None:
    lacking = replace(ring, split=np.where((ring.split == 1) & (ring.relation == 2), 2, ring.split))
    features = Features(useless, Cases(ring.triples("train"), 3, ring.vectors), ring.vectors)
    weights = fit_stack(features, triple_questions(lacking, "valid")).weights
    assert np.array_equal(weights[2], weights[5]) and not np.array_equal(weights[0], weights[2])
