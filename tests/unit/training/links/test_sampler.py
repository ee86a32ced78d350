"""Neighbour sampling: distinct, uniform, within the fan-out, never a link left out."""

from importlib.util import find_spec

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput, SamplerOutput

from data.graph.graph import Graph
from training.links.sampler import NeighborSampler

Pairs = list[tuple[int, int]]
NODES = 10
PAIRS = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=45)
SEEDS = st.lists(st.integers(0, NODES - 1), min_size=1, max_size=6)
FAN_OUT = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def graph_of(pairs: Pairs, num_nodes: int = NODES) -> Graph:
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return Graph.from_pairs(array[:, 0], array[:, 1], num_nodes)


def star(leaves: int) -> Graph:
    return graph_of([(0, leaf) for leaf in range(1, leaves + 1)], leaves + 1)


def edges_of(found: SamplerOutput) -> Pairs:
    """Edges in global numbers: from the neighbour to the node it was drawn for."""
    return list(zip(found.node[found.row].tolist(), found.node[found.col].tolist(), strict=True))


def sampler(graph: Graph, fan_out: tuple[int, ...], seed: int = 0) -> NeighborSampler:
    return NeighborSampler(graph, fan_out, np.random.default_rng(seed))


@settings(deadline=None)
@given(PAIRS, SEEDS, FAN_OUT, st.integers(0, 5))
def test_draws_distinct_neighbours_within_the_fan_out(
    pairs: Pairs, seeds: list[int], fan_out: tuple[int, ...], chance: int
) -> None:
    graph = graph_of(pairs)
    found = sampler(graph, fan_out, chance).sample(np.array(seeds))
    nodes = found.node.tolist()
    assert len(set(nodes)) == len(nodes), "a node occurs twice"
    assert nodes[: found.num_sampled_nodes[0]] == sorted(set(seeds))
    assert sum(found.num_sampled_nodes) == len(nodes) and len(found.num_sampled_nodes) == len(fan_out) + 1
    edges = edges_of(found)
    assert len(set(edges)) == len(edges), "a neighbour was drawn twice"
    for neighbour, node in edges:
        assert neighbour in graph.indices[graph.indptr[node] : graph.indptr[node + 1]]
    first_node = first_edge = 0
    for hop, width in enumerate(fan_out):
        frontier = nodes[first_node : first_node + found.num_sampled_nodes[hop]]
        drawn = [node for _, node in edges[first_edge : first_edge + found.num_sampled_edges[hop]]]
        assert {node: drawn.count(node) for node in frontier} == {
            node: min(width, int(graph.degrees[node])) for node in frontier
        }
        first_node, first_edge = first_node + len(frontier), first_edge + len(drawn)


@settings(deadline=None)
@given(PAIRS, SEEDS, st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=10), FAN_OUT)
def test_links_left_out_never_appear_in_either_direction(
    pairs: Pairs, seeds: list[int], without: Pairs, fan_out: tuple[int, ...]
) -> None:
    left_out = np.array(without, np.int64).reshape(-1, 2).T
    found = sampler(graph_of(pairs), fan_out).sample(np.array(seeds), without=left_out)
    assert not {frozenset(edge) for edge in edges_of(found)} & {frozenset(pair) for pair in without}


def test_the_same_chance_gives_the_same_subgraph_and_no_trace_stays() -> None:
    graph = graph_of([(u, v) for u in range(NODES) for v in range(u)])
    first, again = (edges_of(sampler(graph, (3, 2), 7).sample(np.array([1, 4]))) for _ in range(2))
    assert first == again
    used = sampler(graph, (3, 2))
    assert len(used.sample(np.array([0])).node) <= 1 + 3 + 6
    assert used.sample(np.array([5])).node[0] == 5, "an earlier call's numbering stayed behind"


@pytest.mark.parametrize(("leaves", "width"), [(12, 3), (12, 11), (40, 5)])
def test_every_neighbour_is_drawn_as_often(leaves: int, width: int) -> None:
    drawing, rounds = sampler(star(leaves), (width,), 3), 6000
    counts = np.zeros(leaves + 1)
    for _ in range(rounds):
        counts[drawing.sample(np.array([0])).node[1:]] += 1
    assert counts.sum() == rounds * width
    # Draws without replacement vary less than the multinomial that chi-square supposes: scale by what is left.
    statistic = scipy.stats.chisquare(counts[1:]).statistic / (1 - width / leaves) * (leaves - 1) / leaves
    assert 1e-3 < scipy.stats.chi2.sf(statistic, leaves - 1) < 1 - 1e-3


def test_every_set_of_neighbours_is_drawn_as_often() -> None:
    drawing, rounds = sampler(star(5), (2,), 4), 4000
    sets: dict[frozenset[int], int] = {}
    for _ in range(rounds):
        chosen = frozenset(drawing.sample(np.array([0])).node[1:].tolist())
        sets[chosen] = sets.get(chosen, 0) + 1
    assert len(sets) == 10 and scipy.stats.chisquare(list(sets.values())).pvalue > 1e-3


def test_isolated_seeds_and_a_graph_without_links() -> None:
    found = sampler(graph_of([(0, 1)]), (3, 3)).sample(np.array([5, 0]))
    assert sorted(found.node.tolist()) == [0, 1, 5] and set(edges_of(found)) == {(1, 0), (0, 1)}
    alone = sampler(graph_of([]), (3, 3)).sample(np.array([4, 2, 4]))
    assert alone.node.tolist() == [2, 4] and len(alone.row) == len(alone.col) == 0
    nobody = sampler(graph_of([], 0), (3,)).sample(np.zeros(0, np.int64))
    assert len(nobody.node) == len(nobody.row) == 0


def test_a_hub_costs_no_more_than_its_fan_out() -> None:
    found = sampler(star(50_000), (10,)).sample(np.array([0]))
    assert len(found.node) == 11 and len(found.row) == 10


def test_pygs_interface() -> None:
    graph = graph_of([(0, 1), (1, 2), (2, 3), (3, 4)])
    by_node = sampler(graph, (2, 2)).sample_from_nodes(NodeSamplerInput(None, torch.tensor([2])))
    assert sorted(by_node.node.tolist()) == [0, 1, 2, 3, 4]
    link = EdgeSamplerInput(None, torch.tensor([1]), torch.tensor([2]))
    by_edge = sampler(graph, (2, 2)).sample_from_edges(link)
    assert {frozenset(edge) for edge in edges_of(by_edge)} == {frozenset({0, 1}), frozenset({2, 3}), frozenset({3, 4})}
    with pytest.raises(ValueError, match="neg_sampling=None"):
        sampler(graph, (2,)).sample_from_edges(link, neg_sampling="binary")


@pytest.mark.skipif(find_spec("pyg_lib") is None, reason="pyg-lib is not installed: no second sampler to compare with")
def test_degrees_drawn_equal_pyg_libs() -> None:
    import pyg_lib

    rng = np.random.default_rng(0)
    graph = graph_of([(int(u), int(v)) for u, v in rng.integers(0, 60, (400, 2))], 60)
    seeds = np.arange(0, 60, 7)
    ours = sampler(graph, (4,)).sample(seeds)
    row, _, node, *_ = pyg_lib.sampler.neighbor_sample(
        torch.from_numpy(graph.indptr), torch.from_numpy(graph.indices).long(), torch.from_numpy(seeds), [4]
    )
    assert np.bincount(node[row], minlength=60).tolist() == np.bincount(ours.node[ours.col], minlength=60).tolist()
