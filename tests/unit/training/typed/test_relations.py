"""Relations are named by both ends and their order."""

import numpy as np
import pytest

from training.typed.relations import fit_relations, name_relations


def planted(links: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """80 states; relation 0 goes from the lower to the higher first float, 1 back, 2 joins alike second floats."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(80, 12)).astype(np.float32)
    states[:, 1] = 4 * np.sign(states[:, 1])
    pairs = rng.integers(0, 80, (links, 2))
    alike = states[pairs[:, 0], 1] == states[pairs[:, 1], 1]
    ascends = states[pairs[:, 0], 0] < states[pairs[:, 1], 0]
    return states, pairs, np.where(alike, 2, np.where(ascends, 0, 1))


def test_relations_are_named_with_their_direction() -> None:
    states, pairs, relation = planted()
    weights = fit_relations(states, pairs[:400], relation[:400], 3)
    held = pairs[400:]
    named = name_relations(weights, states, held[:, 0], held[:, 1])
    assert (named == relation[400:]).mean() > 0.85
    turned, directed = name_relations(weights, states, held[:, 1], held[:, 0]), relation[400:] != 2
    assert (turned[directed] == 1 - relation[400:][directed]).mean() > 0.8


def test_the_same_seed_gives_the_same_weights_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.typed.relations.PAIRS_AT_ONCE", 64)
    states, pairs, relation = planted(200)
    first, again = (fit_relations(states, pairs, relation, 3, seed=1) for _ in range(2))
    assert np.array_equal(first.weight, again.weight)
    named = name_relations(first, states, pairs[:, 0], pairs[:, 1])
    one_by_one = [name_relations(first, states, pair[:1], pair[1:])[0] for pair in pairs]
    assert named.tolist() == one_by_one


def test_a_relation_with_one_example_one_relation_and_no_links() -> None:
    states, pairs, relation = planted(100)
    rare = np.append(relation, 3)
    weights = fit_relations(states, np.vstack([pairs, [[7, 8]]]), rare, 4)
    assert np.isfinite(weights.weight).all()
    assert name_relations(weights, states, np.array([7]), np.array([8])).tolist() == [3]
    single = fit_relations(states, pairs, np.zeros(100, np.int64), 1)
    assert name_relations(single, states, pairs[:, 0], pairs[:, 1]).max() == 0
    none = fit_relations(states, np.zeros((0, 2), np.int64), np.zeros(0, np.int64), 2)
    assert name_relations(none, states, np.array([1, 2]), np.array([2, 1])).tolist() == [0, 0]
    assert len(name_relations(none, states, np.zeros(0, np.int64), np.zeros(0, np.int64))) == 0
