"""Training batches: no source sees its own link, no known link is a negative, workers share an epoch evenly."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.graph.graph import GraphArtifact
from training.links.batches import Batch, LinkBatches
from training.links.config import TrainConfig
from training.links.features import FEATURES, PairFeatures

Ids = tuple[np.ndarray, np.ndarray, np.ndarray]


def batches_of(graph: GraphArtifact, config: TrainConfig, rank: int = 0, world: int = 1) -> LinkBatches:
    relation = graph.relation[graph.split == 0].astype(np.int64)
    vectors = np.array(graph.vectors)
    return LinkBatches(graph.training_graph, vectors, *graph.links("train"), relation, config, rank, world)


@pytest.fixture(scope="module")
def numbered(planted: GraphArtifact) -> GraphArtifact:
    """The planted graph with texts that give away the node's number, so that a batch can be read back."""
    vectors = np.zeros((300, 16), np.float32)
    vectors[:, 0] = np.arange(300)
    return replace(planted, vectors=vectors)


def pairs_of(first: np.ndarray, second: np.ndarray) -> set[tuple[int, int]]:
    return set(zip(first.tolist(), second.tolist(), strict=True))


def read_back(batch: Batch) -> Ids:
    """Global numbers: sources (S,), candidates (C,), edges (2, E)."""
    node = batch.text_ND[:, 0].numpy().astype(np.int64)
    return node[batch.sources_S], node[batch.candidates_C], node[batch.edges_2E]


@pytest.fixture(scope="module", params=[8, 0])
def epoch(numbered: GraphArtifact, small: TrainConfig, request: pytest.FixtureRequest) -> list[Batch]:
    return list(batches_of(numbered, small.model_copy(update={"hard_negatives": request.param})).epoch(0))


def directed(graph: GraphArtifact) -> dict[tuple[int, int], set[int]]:
    """Training links by direction, with their relations."""
    links: dict[tuple[int, int], set[int]] = {}
    for source, target, relation in zip(*graph.links("train"), graph.relation[graph.split == 0], strict=True):
        links.setdefault((int(source), int(target)), set()).add(int(relation))
    return links


def test_the_positive_is_a_training_link_in_its_direction(epoch: list[Batch], numbered: GraphArtifact) -> None:
    links = directed(numbered)
    both_ways = set()
    for batch in epoch:
        sources, candidates, _ = read_back(batch)
        targets = candidates[batch.positive_S]
        for s, t, relation, forward in zip(
            sources.tolist(), targets.tolist(), batch.relation_S.tolist(), batch.forward_S.tolist(), strict=True
        ):
            assert relation in links[(s, t) if forward else (t, s)]
            both_ways.add(forward)
        rows = torch.arange(len(sources))
        assert (batch.log_weight_SC[rows, batch.positive_S] == 0).all(), "the positive counts for itself"
    assert both_ways == {True, False}


def test_known_links_are_no_negatives_and_neither_is_the_source(epoch: list[Batch], numbered: GraphArtifact) -> None:
    known = numbered.training_graph.adjacency.toarray() > 0
    np.fill_diagonal(known, True)
    hits = 0
    for batch in epoch:
        sources, candidates, _ = read_back(batch)
        accidental = torch.from_numpy(known[sources][:, candidates])
        accidental[torch.arange(len(sources)), batch.positive_S] = False
        assert (batch.log_weight_SC[accidental] == -np.inf).all()
        assert torch.isfinite(batch.log_weight_SC).sum(dim=1).min() > 1, "a source without negatives"
        hits += int(accidental.sum())
    assert hits > 0, "the test met no accidental hit"


def test_held_out_links_count_as_unknown(epoch: list[Batch], numbered: GraphArtifact) -> None:
    """To leave them out of the negatives would show the model which they are."""
    sources, targets = numbered.pairs[numbered.split > 0].T
    held_out = pairs_of(sources, targets) | pairs_of(targets, sources)
    as_negatives = 0
    for batch in epoch:
        sources, candidates, edges = read_back(batch)
        rows, columns = np.nonzero(np.isfinite(batch.log_weight_SC.numpy()))
        as_negatives += len(held_out & pairs_of(sources[rows], candidates[columns]))
        assert not held_out & pairs_of(*edges), "a held-out link carries messages"
    assert as_negatives > 0


def test_no_message_runs_along_a_link_of_the_batch(epoch: list[Batch], numbered: GraphArtifact) -> None:
    adjacency = numbered.training_graph.adjacency
    for batch in epoch:
        sources, candidates, edges = read_back(batch)
        targets = candidates[batch.positive_S]
        supervision = pairs_of(sources, targets) | pairs_of(targets, sources)
        assert not supervision & pairs_of(*edges)
        assert edges.shape[1] > 0 and (adjacency[edges[0], edges[1]] == 1).all()


def test_features_are_those_without_the_rows_own_link(epoch: list[Batch], numbered: GraphArtifact) -> None:
    batch = epoch[0]
    sources, candidates, _ = read_back(batch)
    features = PairFeatures(numbered.training_graph, np.array(numbered.vectors))
    expected = features.rows(sources, without=candidates[batch.positive_S])[:, :, candidates]
    np.testing.assert_allclose(batch.features_FSC.numpy(), expected, rtol=1e-5)
    degree = batch.features_FSC[FEATURES.index("source_degree")].numpy()
    assert (np.ptp(degree, axis=1) == 0).all(), "the source's degree separates the positive from the others"
    assert len(set(candidates.tolist())) == len(candidates)


def test_the_same_epoch_again_is_the_same_and_the_next_is_not(numbered: GraphArtifact, small: TrainConfig) -> None:
    batches = batches_of(numbered, small)
    first, again, other = (next(batches.epoch(number)) for number in (1, 1, 2))
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in ("edges_2E", "log_weight_SC"))
    assert not np.array_equal(read_back(first)[0], read_back(other)[0])


def drawn(graph: GraphArtifact, config: TrainConfig, rank: int, world: int) -> Iterator[list[tuple[int, int]]]:
    for batch in batches_of(graph, config, rank, world).epoch(0):
        sources, candidates, _ = read_back(batch)
        pairs = np.sort(np.stack([sources, candidates[batch.positive_S]], axis=1), axis=1)
        yield [(int(low), int(high)) for low, high in pairs]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_workers_share_an_epoch(numbered: GraphArtifact, small: TrainConfig, world: int) -> None:
    shares = [list(drawn(numbered, small, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {batches_of(numbered, small, 0, world).steps}
    sizes = {len(batch) for share in shares for batch in share}
    assert sizes == {small.batch_links}
    seen = [pair for share in shares for batch in share for pair in batch]
    links = {(min(pair), max(pair)) for pair in directed(numbered)}
    assert set(seen) == links, "an epoch holds every link"
    assert len(seen) - len(links) < small.batch_links * world, "only the last batches are filled up"


def test_workers_take_different_links_where_an_epoch_is_short(numbered: GraphArtifact, small: TrainConfig) -> None:
    short = small.model_copy(update={"steps_per_epoch": 4, "batch_links": 16})
    first, second = ({pair for batch in drawn(numbered, short, rank, 2) for pair in batch} for rank in (0, 1))
    assert len(first) == len(second) == 64 and not first & second


def test_more_places_than_links(numbered: GraphArtifact, small: TrainConfig) -> None:
    split = np.full(len(numbered.pairs), 2, np.int8)
    split[:3] = 0
    few = replace(numbered, split=split)
    for rank in (0, 1):
        (batch,) = batches_of(few, small, rank, 2).epoch(0)
        assert len(batch.sources_S) == small.batch_links and bool(torch.isfinite(batch.features_FSC).all())


def test_the_baseline_gets_no_texts_and_no_edges(numbered: GraphArtifact, small: TrainConfig) -> None:
    relation = np.zeros(len(numbered.links("train")[0]), np.int64)
    batches = LinkBatches(
        numbered.training_graph, np.array(numbered.vectors), *numbered.links("train"), relation, small, with_graph=False
    )
    batch = next(batches.epoch(0))
    assert len(batch.text_ND) == 0 and batch.edges_2E.shape == (2, 0) and batch.features_FSC.shape[1] == 32
