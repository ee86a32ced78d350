"""A small knowledge graph whose triples follow from the entities' groups, and from their texts."""

from collections.abc import Callable

import numpy as np
import pytest

from data.graph.graph import GraphArtifact

GROUPS, OF_EACH = 6, 8
NAMES = ["next group", "same group", "two groups on"]


def made(unseen: int = 0, texts: bool = True, seed: int = 0) -> GraphArtifact:
    """48 entities in a ring of six groups; a relation's tails are in the head's group, the next, or the one after.

    Args:
        unseen: entities (the first of so many groups) that only test triples name.
        texts: whether vectors tell the group; zeros otherwise.
        seed: of the triples.
    """
    rng = np.random.default_rng(seed)
    count = GROUPS * OF_EACH
    group = np.repeat(np.arange(GROUPS), OF_EACH)
    triples = {
        (int(head), relation, int(rng.choice(np.flatnonzero(group == (group[head] + step) % GROUPS))))
        for head in range(count)
        for relation, step in enumerate((1, 0, 2))
        for _ in range(4)
    }
    ordered = rng.permutation(np.array(sorted(triples)))
    new = np.isin(ordered[:, [0, 2]], np.arange(unseen) * OF_EACH).any(axis=1)
    split = rng.choice([0, 1, 2], len(ordered), p=[0.8, 0.1, 0.1]).astype(np.int8)
    split[new] = 2
    vectors = np.eye(GROUPS + 2, dtype=np.float32)[group] * texts
    return GraphArtifact(
        ids=[f"e{entity}" for entity in range(count)],
        titles=[f"Entity {entity}" for entity in range(count)],
        vectors=vectors,
        pairs=ordered[:, [0, 2]],
        split=split,
        relation=ordered[:, 1].astype(np.int32),
        relation_names=NAMES,
    )


@pytest.fixture(scope="session")
def knowledge() -> Callable[..., GraphArtifact]:
    return made


@pytest.fixture(scope="session")
def ring() -> GraphArtifact:
    return made()
