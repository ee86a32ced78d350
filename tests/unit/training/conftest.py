"""Small graphs with a known pattern, and a model small enough to learn it in seconds."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact, GraphConfig
from data.graph.split import split_links
from training.config import OptimizerConfig
from training.links.config import NodesConfig, ScorerConfig, TrainConfig

Wiring = Callable[..., GraphArtifact]


def artifact_of(
    pairs: np.ndarray, vectors: np.ndarray, relation: np.ndarray | None = None, valid: float = 0.15, test: float = 0.05
) -> GraphArtifact:
    """The graph stage's output, without its files."""
    config = GraphConfig(valid_fraction=valid, test_fraction=test)
    relation = np.zeros(len(pairs), np.int32) if relation is None else relation.astype(np.int32)
    return GraphArtifact(
        ids=[f"d{node}" for node in range(len(vectors))],
        titles=[f"Title {node}" for node in range(len(vectors))],
        vectors=vectors.astype(np.float32),
        pairs=pairs.astype(np.int64),
        split=split_links(pairs[:, 0], pairs[:, 1], config),
        relation=relation,
        relation_names=[f"relation {number}" for number in range(int(relation.max(initial=0)) + 1)],
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def wire() -> Wiring:
    return artifact_of


@pytest.fixture(scope="session")
def planted() -> GraphArtifact:
    """300 documents in 25 circles; most links stay within one, and the texts show it only faintly.

    The relation of a link is decided by the text of its source.
    """
    rng = np.random.default_rng(0)
    circle = np.repeat(np.arange(25), 12)
    u, v = np.triu_indices(300, 1)
    linked = rng.random(len(u)) < np.where(circle[u] == circle[v], 0.5, 0.001)
    pairs = np.column_stack([u[linked], v[linked]])
    pairs = np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])
    vectors = unit(0.7 * unit(rng.normal(size=(25, 16)))[circle] + unit(rng.normal(size=(300, 16))))
    vectors = unit(np.column_stack([rng.choice([-0.7, 0.7], 300), vectors]))
    return artifact_of(pairs, vectors, relation=vectors[pairs[:, 0], 0] > 0)


def random_links(num_nodes: int, links: int) -> GraphArtifact:
    """Random texts and random links: nothing of one link can be predicted from the others."""
    rng = np.random.default_rng(1)
    u, v = np.triu_indices(num_nodes, 1)
    codes = rng.choice(len(u), links, replace=False)
    return artifact_of(np.column_stack([u[codes], v[codes]]), unit(rng.normal(size=(num_nodes, 16))), valid=0.2)


@pytest.fixture(scope="session")
def patternless() -> GraphArtifact:
    return random_links(600, 3000)


@pytest.fixture(scope="session")
def patternless_and_sparse() -> GraphArtifact:
    return random_links(1000, 2000)


@pytest.fixture(scope="session")
def small() -> TrainConfig:
    return TrainConfig(
        model=NodesConfig(width=16, words=8),
        scorer=ScorerConfig(units=8, members=2, links=100, folds=1, shortlist=20, random=30, epochs=6),
        optimizer=OptimizerConfig(epochs=3, learning_rate=0.01),
        batch_links=64,
    )


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
