"""Training learns what is there, nothing where there is nothing, and no link tells of itself."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.graph.graph import Graph, GraphArtifact
from evaluation.links import both_directions, link_metrics, link_ranks
from training.frame import fit
from training.links.build import decided
from training.links.config import TrainConfig
from training.links.inputs import relation_of_entries, walk_vectors
from training.links.scoring import states_of
from training.links.task import LinkTask, training_pairs
from training.task import Progress

Wiring = Callable[..., GraphArtifact]


def trained(graph: GraphArtifact, config: TrainConfig, **keys: object) -> tuple[LinkTask, Progress]:
    task = LinkTask(graph, config.model_copy(update=keys))
    return task, fit(task, task.config.optimizer)


def mrr(states: np.ndarray, graph: GraphArtifact, part: str = "test") -> float:
    ranks = link_ranks(lambda s: states[s] @ states.T, *both_directions(*graph.links(part)), graph.known_graph)
    return link_metrics(ranks)["mrr"]


def chance(competitors: int) -> float:
    """Mean reciprocal rank of a guess."""
    return float((1 / np.arange(1, competitors + 1)).mean())


def longer(config: TrainConfig, epochs: int = 10) -> TrainConfig:
    return config.model_copy(
        update={"optimizer": config.optimizer.model_copy(update={"epochs": epochs, "patience": epochs})}
    )


def test_learns_the_planted_pattern(planted: GraphArtifact, small: TrainConfig) -> None:
    task, progress = trained(planted, longer(small))
    losses = [row["loss"] for row in progress.history]
    assert losses[-1] < losses[0]
    assert mrr(task.states(), planted) > 2 * mrr(planted.vectors, planted) > 4 * chance(290)
    for key in ("epoch", "loss", "valid_mrr", "seconds", "links_per_s"):
        assert all(key in row for row in progress.history)


@pytest.mark.parametrize("encoder", ["gatv2", "sage", "rgcn", "none"])
def test_every_encoder_learns(planted: GraphArtifact, small: TrainConfig, encoder: str) -> None:
    task, _ = trained(planted, longer(small, 5), model=small.model.model_copy(update={"encoder": encoder}))
    assert mrr(task.states(), planted) > mrr(planted.vectors, planted)
    np.testing.assert_allclose(states_of(task.model, planted), task.states(), atol=1e-5)


@pytest.mark.parametrize(
    "keys",
    [
        {"loss": "bce"},
        {"loss": "bpr"},
        {"kind": "uniform", "drawn": 100},
        {"kind": "degree", "drawn": 100},
        {"hard": 30, "mine_every": 1},
    ],
)
def test_every_loss_and_kind_of_negatives_learns(
    planted: GraphArtifact, small: TrainConfig, keys: dict[str, object]
) -> None:
    task, _ = trained(planted, longer(small, 5), negatives=small.negatives.model_copy(update=keys))
    assert mrr(task.states(), planted) > mrr(planted.vectors, planted)


def test_a_corpus_of_links_alone_gets_a_table(planted: GraphArtifact, small: TrainConfig) -> None:
    bare = replace(planted, vectors=np.zeros((300, 0), np.float32))
    assert decided(small.model, bare).table and not decided(small.model, planted).table
    task, _ = trained(bare, longer(small))
    assert mrr(task.states(), bare) > 4 * chance(290)


# Canaries of leakage


def test_where_links_are_random_nothing_is_found(patternless: GraphArtifact, small: TrainConfig) -> None:
    for table in (True, False):
        task, _ = trained(patternless, small, model=small.model.model_copy(update={"table": table, "table_decay": 0.0}))
        pairs = patternless.pairs[patternless.split > 0].T
        rows = task.states()
        ranks = link_ranks(lambda s, rows=rows: rows[s] @ rows.T, *both_directions(*pairs), patternless.known_graph)  # type: ignore[misc]
        spread = float((1 / ranks).std() / np.sqrt(len(ranks)))
        assert (1 / ranks).mean() == pytest.approx(chance(590), abs=4 * spread)


def test_a_training_link_does_not_tell_of_itself(
    patternless_and_sparse: GraphArtifact, small: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links are random, links met for the first time cannot be told from other pairs.

    They can where states pass along the links of the batch: the canary sings.
    """
    task = LinkTask(patternless_and_sparse, small.model_copy(update={"batch_links": 50}))
    task.model.eval()

    def margin() -> float:
        """By how much the cosine of a batch's links is above that of its other pairs."""
        apart = []
        for batch in task.batches(0):
            links, inputs = task._on(torch.device("cpu"))
            kept = torch.ones(len(links.indices_E))
            kept[batch.entries] = 0
            gone = torch.bincount(links.rows_E[batch.entries], minlength=len(links.degrees_N))
            with torch.no_grad():
                states, _ = task.model(inputs, links, kept, links.degrees_N - gone)
            cosines = states[batch.sources] @ states[batch.targets].T
            apart.append(float(cosines.diagonal().mean() - cosines.mean()))
        return float(np.mean(apart))

    assert abs(margin()) < 0.02
    honest = LinkTask.batches
    empty = torch.zeros(0, dtype=torch.long)
    monkeypatch.setattr(
        LinkTask, "batches", lambda self, epoch: (replace(batch, entries=empty) for batch in honest(self, epoch))
    )
    assert margin() > 0.2


def test_a_link_that_is_all_there_is_to_know_is_not_found(wire: Wiring, small: TrainConfig) -> None:
    """Pairs with no other links: once the link is held out, any document without links is as good as any other."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(600, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = wire(rng.permutation(600).reshape(300, 2), vectors, valid=0.4, test=0.1)
    task, _ = trained(graph, small)
    for part in ("valid", "test"):
        assert mrr(task.states(), graph, part) < 2 * chance(299)


# What batches hold


def test_an_epoch_has_every_link_once_and_follows_from_the_seed(planted: GraphArtifact, small: TrainConfig) -> None:
    task = LinkTask(planted, small)
    batches = list(task.batches(0))
    assert len(batches) == task.steps
    met = np.concatenate([np.column_stack([b.sources, b.targets]) for b in batches])
    codes = np.minimum(met[:, 0], met[:, 1]) * 300 + np.maximum(met[:, 0], met[:, 1])
    known = task.sources * 300 + task.targets
    assert len(np.unique(codes)) == len(codes) == task.steps * task.per_step and np.isin(codes, known).all()
    again, other = list(task.batches(0)), list(task.batches(1))
    assert all(torch.equal(a.sources, b.sources) for a, b in zip(batches, again, strict=True))
    assert not torch.equal(batches[0].sources, other[0].sources)


def test_relations_of_entries_are_those_of_the_links(planted: GraphArtifact) -> None:
    graph = planted.training_graph
    kinds = relation_of_entries(planted, graph)
    known = {
        frozenset(pair): kind for pair, kind in zip(planted.pairs.tolist(), planted.relation.tolist(), strict=True)
    }
    row = np.repeat(np.arange(300), graph.degrees)
    assert kinds.tolist() == [known[frozenset(pair)] for pair in zip(row.tolist(), graph.indices.tolist(), strict=True)]


def test_two_workers_share_an_epoch_and_compare_with_each_others_targets(
    planted: GraphArtifact, small: TrainConfig
) -> None:
    tasks = [LinkTask(planted, small.model_copy(update={"batch_links": 32}), rank, 2) for rank in (0, 1)]
    for first, second in zip(*(task.batches(0) for task in tasks), strict=True):
        assert torch.equal(first.candidates, torch.cat([first.targets, second.targets]))
        assert torch.equal(first.candidates, second.candidates) and torch.equal(first.entries, second.entries)
        assert not set(zip(first.sources.tolist(), first.targets.tolist(), strict=True)) & set(
            zip(second.sources.tolist(), second.targets.tolist(), strict=True)
        )


def test_a_batch_leaves_most_of_a_small_graph(planted: GraphArtifact, small: TrainConfig) -> None:
    task = LinkTask(planted, small.model_copy(update={"batch_links": 10_000}))
    assert task.per_step <= len(task.sources) // 4 and task.steps >= 4


def test_hidden_links_are_not_in_the_graph(planted: GraphArtifact, small: TrainConfig) -> None:
    sources, targets, _ = training_pairs(planted)
    hidden = np.arange(len(sources)) % 10 == 0
    task = LinkTask(planted, small, hidden=hidden)
    assert not np.asarray(task.graph.adjacency[sources[hidden], targets[hidden]]).any()
    assert len(task.graph.indices) == 2 * int((~hidden).sum())


def test_walks_go_along_the_links_of_the_training_alone(planted: GraphArtifact, small: TrainConfig) -> None:
    """Held-out links, of the split or hidden for the scorer, change nothing in the vectors of the walks."""
    config = small.model_copy(update={"model": small.model.model_copy(update={"node2vec": 12})})
    sources, targets, _ = training_pairs(planted)
    hidden = np.arange(len(sources)) % 10 == 0
    shuffled = planted.pairs.copy()
    held = planted.split > 0
    shuffled[held, 1] = np.random.default_rng(0).permutation(shuffled[held, 1])
    for keys in ({}, {"hidden": hidden}):
        walked = LinkTask(planted, config, **keys).model.walked_ND  # type: ignore[arg-type]
        other = LinkTask(replace(planted, pairs=shuffled), config, **keys).model.walked_ND  # type: ignore[arg-type]
        assert walked is not None and walked.shape == (300, 12) and walked.any()
        assert other is not None and torch.equal(walked, other)
    remaining = Graph.from_pairs(sources[~hidden], targets[~hidden], 300)
    np.testing.assert_array_equal(walked, walk_vectors(remaining, 12, config.optimizer.seed))


def test_walks_alone_are_enough_to_learn_from(planted: GraphArtifact, small: TrainConfig) -> None:
    bare = replace(planted, vectors=np.zeros((300, 0), np.float32))
    walks = small.model.model_copy(update={"node2vec": 16})
    assert not decided(walks, bare).table
    task, _ = trained(bare, longer(small), model=walks)
    assert mrr(task.states(), bare) > 4 * chance(290)
    np.testing.assert_allclose(states_of(task.model, bare), task.states(), atol=1e-5)


def test_near_misses_survive_a_kill(planted: GraphArtifact, small: TrainConfig) -> None:
    config = small.model_copy(update={"negatives": small.negatives.model_copy(update={"hard": 10, "mine_every": 1})})
    task, _ = trained(planted, config)
    other = LinkTask(planted, config)
    other.load(task.state())
    assert all(torch.equal(a.candidates, b.candidates) for a, b in zip(task.batches(5), other.batches(5), strict=True))


def test_no_links_to_learn_from(planted: GraphArtifact, small: TrainConfig) -> None:
    with pytest.raises(InputError, match="no training links"):
        LinkTask(replace(planted, split=np.full_like(planted.split, 2)), small)
    with pytest.raises(InputError, match="neither vectors nor words"):
        bare = replace(planted, vectors=np.zeros((300, 0), np.float32))
        LinkTask(bare, small.model_copy(update={"model": small.model.model_copy(update={"table": False})}))


def test_duplicates_both_directions_and_a_self_link_count_once(wire: Wiring, small: TrainConfig) -> None:
    pairs = np.array([[0, 1], [1, 0], [0, 1], [2, 2], [1, 2], [3, 4], [2, 3]])
    graph = wire(np.tile(pairs, (1, 1)), np.eye(6, 8, dtype=np.float32) + 0.1, valid=0.01, test=0.01)
    sources, targets, relation = training_pairs(graph)
    assert (sources < targets).all() and len(relation) == len(np.unique(sources * 6 + targets)) == len(sources)
    task, progress = trained(graph, small)
    assert progress.epoch >= 1 and np.isfinite(task.states()).all()


def test_more_workers_than_links(wire: Wiring, small: TrainConfig) -> None:
    pairs = np.array([[0, 1], [1, 2], [3, 4], [2, 3], [4, 5]])
    graph = wire(pairs, np.eye(6, 8, dtype=np.float32) + 0.1, valid=0.2, test=0.2)
    task = LinkTask(graph, small, rank=0, world=4)
    with pytest.raises(InputError, match="an epoch has no batch for each of 4 workers"):
        fit(task, small.optimizer, world=4)
