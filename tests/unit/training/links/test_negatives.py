"""Which documents a link is compared with, and that held-out links do not show in it."""

import numpy as np
import pytest

from data.graph.graph import Graph, GraphArtifact
from training.links.config import NegativesConfig
from training.links.negatives import Candidates, Negatives
from training.links.task import training_pairs


def negatives(graph: GraphArtifact, **keys: object) -> Negatives:
    return Negatives(graph.training_graph, NegativesConfig.model_validate(keys), *training_pairs(graph))


def draw(
    made: Negatives, graph: GraphArtifact, size: int = 40, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Candidates]:
    sources, targets, relation = (part[:size] for part in training_pairs(graph))
    return sources, targets, made.draw(sources, targets, relation, targets, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["in_batch", "uniform", "degree", "relation"])
def test_masked_are_exactly_the_source_its_target_and_its_training_neighbours(
    planted: GraphArtifact, kind: str
) -> None:
    sources, targets, drawn = draw(negatives(planted, kind=kind, drawn=200), planted)
    linked = planted.training_graph.adjacency.toarray() > 0
    expected = linked[sources][:, drawn.documents] | (sources[:, None] == drawn.documents)
    expected |= targets[:, None] == drawn.documents
    found = np.zeros_like(expected)
    found[drawn.masked[:, 0], drawn.masked[:, 1]] = True
    np.testing.assert_array_equal(found, expected)
    assert (np.diff(drawn.masked[:, 0]) >= 0).all()


def test_a_held_out_link_is_a_negative_like_any_other_pair(planted: GraphArtifact) -> None:
    """If it were masked, the pairs that are never pushed apart would be those held out: the answer is given away."""
    valid = {tuple(pair) for part in ("valid", "test") for pair in np.column_stack(planted.links(part)).tolist()}
    sources, _, drawn = draw(negatives(planted, kind="uniform", drawn=3000), planted, size=1000)
    pairs = np.column_stack([sources[drawn.masked[:, 0]], drawn.documents[drawn.masked[:, 1]]]).tolist()
    assert len(valid) > 50 and not valid & {tuple(pair) for pair in pairs}


def test_chances_of_kinds(planted: GraphArtifact) -> None:
    degrees = planted.training_graph.degrees
    _, targets, drawn = draw(negatives(planted), planted)
    np.testing.assert_array_equal(drawn.documents, targets)
    np.testing.assert_allclose(drawn.log_chance, np.log(degrees[targets] + 1), rtol=1e-6)
    _, _, drawn = draw(negatives(planted, kind="uniform", drawn=500), planted)
    assert len(drawn.documents) == 500 and not drawn.log_chance.any() and not drawn.own_log_chance.any()
    _, _, drawn = draw(negatives(planted, kind="degree", drawn=60_000), planted)
    often = np.bincount(drawn.documents, minlength=len(degrees))
    assert np.corrcoef(often, degrees)[0, 1] > 0.95


def test_relation_draws_from_ends_of_the_batchs_relations() -> None:
    graph = Graph.from_pairs(np.array([0, 2]), np.array([1, 3]), 5)
    made = Negatives(
        graph, NegativesConfig(kind="relation", drawn=50), np.array([0, 2]), np.array([1, 3]), np.array([0, 1])
    )
    drawn = made.draw(np.array([0]), np.array([1]), np.array([0]), np.array([1]), np.random.default_rng(0))
    assert set(drawn.documents.tolist()) == {0, 1}


def test_near_misses_are_drawn_beside_the_others(planted: GraphArtifact) -> None:
    made = negatives(planted, hard=20)
    made.mined = np.full((300, 4), -1, np.int32)
    assert len(draw(made, planted)[2].documents) == len(draw(made, planted)[1]), "nobody has any"
    made.mined[:] = (np.arange(300)[:, None] + np.arange(4)) % 300
    _, targets, drawn = draw(made, planted)
    assert len(drawn.documents) == len(drawn.log_chance) == len(targets) + 20


def test_draws_follow_from_the_generator(planted: GraphArtifact) -> None:
    made = negatives(planted, kind="uniform", drawn=50)
    again = [draw(made, planted, seed=seed)[2].documents for seed in (0, 0, 1)]
    assert (again[0] == again[1]).all() and (again[0] != again[2]).any()
