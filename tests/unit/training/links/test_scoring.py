"""The scorer: rows and single pairs agree, blocks change nothing, the model it was given stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact
from training.links.config import TrainConfig
from training.links.model import LinkModel, ModelShape
from training.links.scoring import LinkScorer


@pytest.fixture(scope="module", params=[False, True], ids=["model", "baseline"])
def model(planted: GraphArtifact, small: TrainConfig, request: pytest.FixtureRequest) -> LinkModel:
    torch.manual_seed(0)
    dim = None if request.param else planted.vectors.shape[1]
    made = LinkModel(ModelShape.of(small, dim, tuple(planted.relation_names)))
    made.feature_std_F.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def scorer(model: LinkModel, planted: GraphArtifact) -> LinkScorer:
    return LinkScorer(model, planted.training_graph, planted.vectors)


def test_rows_and_pairs_agree(scorer: LinkScorer) -> None:
    table = scorer.score(np.arange(300))
    assert table.shape == (300, 300) and table.dtype == np.float32
    sources, targets = np.random.default_rng(0).integers(0, 300, (2, 500))
    pairs = scorer.score_pairs(sources, targets)
    assert pairs.shape == (500,) and pairs.dtype == np.float32
    np.testing.assert_allclose(pairs, table[sources, targets], atol=1e-4)
    np.testing.assert_allclose(scorer.score_pairs(sources, targets, batch=7), pairs, atol=1e-5)
    np.testing.assert_allclose(scorer.score(np.array([5, 5, 0])), table[[5, 5, 0]], atol=1e-4)


def test_blocks_change_nothing(scorer: LinkScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = np.arange(50)
    whole = scorer.score(sources)
    monkeypatch.setattr(scorer.features, "block_rows", lambda: 3 * 32)  # three sources at once
    np.testing.assert_allclose(scorer.score(sources), whole, atol=1e-4)


def test_nothing_to_score(scorer: LinkScorer) -> None:
    nobody = np.zeros(0, np.int64)
    assert scorer.score(nobody).shape == (0, 300) and scorer.score_pairs(nobody, nobody).shape == (0,)


def test_scoring_draws_no_lots_and_leaves_the_model_in_training(
    model: LinkModel, scorer: LinkScorer, planted: GraphArtifact
) -> None:
    model.train()
    again = LinkScorer(model, planted.training_graph, planted.vectors)
    assert model.training and not again.model.training
    np.testing.assert_array_equal(again.score(np.arange(20)), scorer.score(np.arange(20)))


def test_node_vectors_are_the_views(scorer: LinkScorer, small: TrainConfig) -> None:
    if scorer.model.nodes is None:
        with pytest.raises(ValueError, match="no node vectors"):
            _ = scorer.node_vectors
        assert (scorer.relations(np.array([0]), np.array([1])) == 0).all()
        return
    vectors = scorer.node_vectors
    assert vectors.shape == (300, small.hidden) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), small.views**0.5, rtol=1e-5)
    relations = scorer.relations(np.array([0, 7]), np.array([1, 3]))
    assert set(relations.tolist()) <= {0, 1} and scorer.relation_names == ["relation 0", "relation 1"]


def test_vectors_may_lie_on_disk(model: LinkModel, scorer: LinkScorer, planted: GraphArtifact, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", planted.vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    on_disk = LinkScorer(model, planted.training_graph, mapped)
    np.testing.assert_allclose(on_disk.score(np.arange(5)), scorer.score(np.arange(5)), atol=1e-5)
