"""Neighbour sampling beside a plain search: the same edges where all are taken, and even chances where some are."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput

from data.graph.graph import Graph
from data.graph.neighbourhoods import Neighbourhoods
from data.graph.sampler import NeighborSampler, Sampled

NODES, RELATIONS, TIMES = 8, 3, 6
NODE = st.integers(0, NODES - 1)
EDGE = st.tuples(NODE, NODE, st.integers(0, RELATIONS - 1), st.integers(0, TIMES))
Drawn = tuple[int, int, int, int]
"""Whose subgraph (a seed's place, or 0), the target, the relation, the number of the edge."""


@dataclass
class Multigraph:
    """Edges as a list, and the search that needs nothing else."""

    edges: list[tuple[int, int, int, int]]
    both: bool
    typed: bool

    def rows(self) -> Neighbourhoods:
        source, target, relation, time = np.array(self.edges, np.int64).reshape(-1, 4).T
        return Neighbourhoods.from_edges(
            source,
            target,
            NODES,
            direction="both" if self.both else "forward",
            relation=relation if self.typed else None,
            relations=RELATIONS if self.typed else 1,
            time=time,
        )

    def into(self, node: int, without: set[frozenset[int]], until: int | None) -> list[tuple[int, int, int]]:
        """Edges whose message a node may receive: origin, relation, number."""
        found = []
        for number, (source, target, relation, time) in enumerate(self.edges):
            if source == target or frozenset((source, target)) in without or (until is not None and time > until):
                continue
            if target == node:
                found.append((source, relation * self.typed, number))
            if source == node and self.both:
                found.append((target, (relation + RELATIONS) * self.typed, number))
        return found

    def search(self, seeds: list[int], hops: int, without: set[frozenset[int]], times: list[int] | None) -> set[Drawn]:
        """All edges within reach: of all seeds together, or with times of each alone."""
        parts = [(seeds, None)] if times is None else [([seed], time) for seed, time in zip(seeds, times, strict=True)]
        found: set[Drawn] = set()
        for part, (start, until) in enumerate(parts):
            known, frontier = set(start), set(start)
            for _ in range(hops):
                edges = [(node, *edge) for node in frontier for edge in self.into(node, without, until)]
                found |= {(part, node, relation, number) for node, _, relation, number in edges}
                frontier = {origin for _, origin, _, _ in edges} - known
                known |= frontier
        return found


GRAPHS = st.builds(Multigraph, st.lists(EDGE, max_size=30), st.booleans(), st.booleans())
SEEDS = st.lists(st.tuples(NODE, st.integers(0, TIMES)), min_size=1, max_size=5)
PAIRS = st.lists(st.tuples(NODE, NODE), max_size=6)


def drawn(found: Sampled) -> list[Drawn]:
    relation = np.zeros(len(found.edge), np.int64) if found.relation is None else found.relation
    seed = np.zeros(len(found.node), np.int64) if found.seed is None else found.seed
    assert (seed[found.source] == seed[found.target]).all(), "an edge joins the subgraphs of two seeds"
    columns = (seed[found.target], found.node[found.target], relation, found.edge)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def sampled(
    graph: Multigraph, fan_out: list[int], seeds: list[tuple[int, int]], pairs: list[tuple[int, int]], timed: bool,
    replace: bool = False,
) -> tuple[Sampled, set[Drawn], list[int]]:  # fmt: skip
    nodes, times = [node for node, _ in seeds], [time for _, time in seeds]
    nodes, times = (nodes, times) if timed else (list(dict.fromkeys(nodes)), None)
    without = np.array(pairs, np.int64).reshape(-1, 2).T
    found = NeighborSampler(graph.rows(), fan_out, 5, replace).sample(
        np.array(nodes), without, None if times is None else np.array(times)
    )
    within_reach = graph.search(nodes, len(fan_out), {frozenset(pair) for pair in pairs}, times)
    return found, within_reach, nodes


@settings(deadline=None, max_examples=200)
@given(GRAPHS, SEEDS, PAIRS, st.integers(0, 3), st.booleans(), st.booleans())
def test_all_neighbours_are_those_of_a_plain_search(
    graph: Multigraph, seeds: list[tuple[int, int]], pairs: list[tuple[int, int]], hops: int, timed: bool, wide: bool
) -> None:
    found, expected, nodes = sampled(graph, [40 if wide else -1] * hops, seeds, pairs, timed)
    edges = drawn(found)
    assert set(edges) == expected and len(edges) == len(expected)
    assert found.node[: len(nodes)].tolist() == nodes
    assert sum(found.nodes_per_hop) == len(found.node) and sum(found.edges_per_hop) == len(edges)
    ends = {
        frozenset((int(a), int(b))) for a, b in zip(found.node[found.source], found.node[found.target], strict=True)
    }
    assert ends == {frozenset(graph.edges[number][:2]) for *_, number in edges}
    numbered = Counter(
        zip(found.node.tolist(), [0] * len(found.node) if found.seed is None else found.seed, strict=True)
    )
    assert max(numbered.values()) == 1, "a node has two numbers"


@settings(deadline=None, max_examples=200)
@given(
    GRAPHS, SEEDS, PAIRS, st.lists(st.integers(0, 4), min_size=1, max_size=3), st.booleans(), st.booleans()
)  # fmt: skip
def test_draws_stay_within_reach_and_fill_the_fan_out(
    graph: Multigraph, seeds: list[tuple[int, int]], pairs: list[tuple[int, int]], fan_out: list[int], timed: bool,
    replace: bool,
) -> None:  # fmt: skip
    found, within_reach, _ = sampled(graph, fan_out, seeds, pairs, timed, replace)
    edges = drawn(found)
    assert set(edges) <= within_reach
    available = Counter(edge[:3] for edge in within_reach)
    node = edge = 0
    for hop, width in enumerate(fan_out):
        frontier = range(node, node + found.nodes_per_hop[hop])
        here = slice(edge, edge + found.edges_per_hop[hop])
        assert set(found.target[here].tolist()) <= set(frontier)
        counts = Counter(entry[:3] for entry in edges[here])
        for at, relation in product(frontier, range(2 * RELATIONS if graph.typed else 1)):
            key = (0 if found.seed is None else int(found.seed[at]), int(found.node[at]), relation)
            most = width * (available[key] > 0) if replace else min(width, available[key])
            assert counts[key] == most
        assert replace or len(set(edges[here])) == len(edges[here]), "a neighbour was drawn twice"
        node, edge = frontier.stop, here.stop


def star(leaves: int) -> Neighbourhoods:
    rim = np.arange(1, leaves + 1)
    return Neighbourhoods.from_edges(rim, np.zeros(leaves, np.int64), leaves + 1, direction="forward")


@pytest.mark.parametrize(("leaves", "width"), [(12, 3), (12, 11), (40, 5)])
@pytest.mark.parametrize("hidden", [0, 4])
def test_every_neighbour_is_drawn_as_often(leaves: int, width: int, hidden: int) -> None:
    sampler, rounds, left = NeighborSampler(star(leaves + hidden), (width,), 3), 4000, np.arange(leaves)
    gone = np.arange(1, 2 * hidden, 2)  # every other one of the first leaves
    counts = np.zeros(leaves + hidden + 1)
    for _ in range(rounds):
        counts[sampler.sample(np.array([0]), np.stack([gone, np.zeros_like(gone)])).node[1:]] += 1
    assert counts[gone].sum() == 0 and counts.sum() == rounds * width
    left = np.delete(counts[1:], gone - 1)
    # Draws without replacement vary less than the multinomial that chi-square supposes: scale by what is left.
    statistic = scipy.stats.chisquare(left).statistic / (1 - width / leaves) * (leaves - 1) / leaves
    assert 1e-3 < scipy.stats.chi2.sf(statistic, leaves - 1) < 1 - 1e-3


@pytest.mark.parametrize(("replace", "outcomes"), [(False, 10), (True, 25)])
def test_every_outcome_is_drawn_as_often(replace: bool, outcomes: int) -> None:
    sampler, seen = NeighborSampler(star(5), (2,), 4, replace), Counter[tuple[int, ...]]()
    for _ in range(5000):
        edges = sampler.sample(np.array([0])).edge.tolist()
        seen[tuple(edges if replace else sorted(edges))] += 1
    assert len(seen) == outcomes and scipy.stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_the_same_seed_gives_the_same_subgraphs_and_no_trace_stays() -> None:
    u, v = np.triu_indices(NODES, 1)
    complete = Neighbourhoods.of(Graph.from_pairs(u, v, NODES))
    first, again, other = (NeighborSampler(complete, (3, 2), seed) for seed in (7, 7, 8))
    ours, theirs, different = ([drawn(s.sample(np.array([n, 1]))) for n in range(5)] for s in (first, again, other))
    assert ours == theirs != different
    assert first.sample(np.array([5])).node[0] == 5, "an earlier call's numbering stayed behind"


def test_isolated_seeds_self_links_and_a_graph_without_links() -> None:
    loops = np.array([0, 3, 3])
    lonely = NeighborSampler(Neighbourhoods.from_edges(loops, np.array([1, 3, 3]), 6), (3, 3))
    found = lonely.sample(np.array([5, 0, 3, 5]))
    assert found.node.tolist() == [5, 0, 3, 1] and [edge[1:] for edge in drawn(found)] == [(0, 0, 0), (1, 0, 0)]
    nothing = np.zeros(0, np.int64)
    for nodes, seeds in ((6, np.array([4, 2])), (0, nothing)):
        sampler = NeighborSampler(Neighbourhoods.from_edges(nothing, nothing, nodes), (3, -1))
        for time in (None, nothing):
            rows = Neighbourhoods.from_edges(nothing, nothing, nodes, time=time)
            alone = NeighborSampler(rows, (3, -1)).sample(seeds, time=None if time is None else np.zeros_like(seeds))
            assert alone.node.tolist() == seeds.tolist() and len(alone.edge) == 0
        assert len(sampler.sample(seeds, without=np.array([[], []], np.int64)).edge) == 0


def test_no_hops_and_a_fan_out_of_nothing() -> None:
    assert NeighborSampler(star(3), ()).sample(np.array([0])).node.tolist() == [0]
    found = NeighborSampler(star(3), (0, 5)).sample(np.array([0]))
    assert found.node.tolist() == [0] and found.edges_per_hop == [0, 0]


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="not -2"):
        NeighborSampler(star(3), (2, -2))
    with pytest.raises(ValueError, match="times"):
        NeighborSampler(star(3), (2,)).sample(np.array([0]), time=np.array([1]))
    with pytest.raises(ValueError, match="nodes 0 to 2"):
        Neighbourhoods.from_edges(np.array([0]), np.array([3]), 3)
    with pytest.raises(ValueError, match="0 to 1"):
        Neighbourhoods.from_edges(np.array([0]), np.array([1]), 3, relation=np.array([2]), relations=2)
    with pytest.raises(ValueError, match="neg_sampling=None"):
        NeighborSampler(star(3), (2,)).sample_from_edges(
            EdgeSamplerInput(None, torch.tensor([1]), torch.tensor([0])), neg_sampling="binary"
        )


def test_a_hub_costs_no_more_than_its_fan_out() -> None:
    found = NeighborSampler(star(50_000), (10,)).sample(np.array([0]))
    assert len(found.node) == 11 and len(found.edge) == 10


def ring(nodes: int) -> tuple[torch.Tensor, torch.Tensor, Callable[..., NeighborSampler]]:
    """A ring whose edge i, from i to i + 1, is of time i."""
    source = torch.arange(nodes)
    target = (source + 1) % nodes

    def sampler(fan_out: tuple[int, ...]) -> NeighborSampler:
        rows = Neighbourhoods.from_edges(source.numpy(), target.numpy(), nodes, time=source.numpy())
        return NeighborSampler(rows, fan_out)

    return source, target, sampler


def test_pygs_loaders_take_it() -> None:
    source, target, sampler = ring(12)
    data = Data(x=torch.arange(12.0)[:, None], edge_index=torch.stack([source, target]), edge_attr=source * 10)
    node_batch = next(iter(NodeLoader(data, sampler((2, 2)), torch.tensor([7, 3]), batch_size=2, shuffle=False)))
    assert node_batch.n_id[: node_batch.batch_size].tolist() == [7, 3]
    assert sorted(node_batch.x[:, 0].tolist()) == list(range(1, 10))
    assert node_batch.edge_attr.tolist() == (node_batch.e_id * 10).tolist()
    loader = LinkLoader(
        data, sampler((2, 2)), edge_label_index=torch.stack([source, target])[:, 4:6], batch_size=2, shuffle=False
    )
    batch = next(iter(loader))
    assert batch.n_id[batch.edge_label_index].tolist() == [[4, 5], [5, 6]]
    assert not {4, 5} & set(batch.e_id.tolist()), "a supervised edge passes messages"
    timed = LinkLoader(
        data, sampler((2, 2)), edge_label_index=torch.stack([source, target])[:, 4:6],
        edge_label_time=torch.tensor([4, 5]), batch_size=2, shuffle=False,
    )  # fmt: skip
    batch = next(iter(timed))
    assert batch.n_id[batch.edge_label_index].tolist() == [[4, 5], [5, 6]]
    assert batch.batch[batch.edge_label_index].tolist() == [[0, 1], [0, 1]]
    assert batch.e_id.max() <= 3, "a younger edge passes messages"


def test_pygs_interface_tells_the_relations() -> None:
    rows = Neighbourhoods.from_edges(
        np.array([0, 1]), np.array([1, 2]), 3, relation=np.array([1, 0]), relations=2
    )  # fmt: skip
    found = NeighborSampler(rows, (-1,)).sample_from_nodes(NodeSamplerInput(None, torch.tensor([1])))
    assert dict(zip(found.edge.tolist(), found.metadata[-1].tolist(), strict=True)) == {0: 1, 1: 2}, "back: r + 2"
