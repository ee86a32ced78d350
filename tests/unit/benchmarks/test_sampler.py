"""The sampler's benchmark on a small graph: rows with their bounds, and a peer that draws the same."""

import numpy as np

from benchmarks.sampler import plain_loop, rows
from data.graph.graph import Graph
from data.graph.neighbourhoods import Neighbourhoods
from data.graph.sampler import NeighborSampler


def grid(side: int) -> Graph:
    node = np.arange(side * side)
    right, down = node[node % side < side - 1], node[:-side]
    return Graph.from_pairs(np.concatenate([right, down]), np.concatenate([right + 1, down + side]), side * side)


def test_rows_have_figures_and_bounds() -> None:
    rate, ratio = rows(grid(30), batches=3)
    assert rate.value > 1e5 and rate.at_least == 3e6 and rate.reach == 1e7
    assert ratio.value > 0 and "plain loop" in ratio.peer


def test_the_plain_loop_draws_what_the_sampler_draws() -> None:
    graph, seeds = grid(12), np.array([5, 60, 100])
    adjacent = [row.tolist() for row in np.split(graph.indices, graph.indptr[1:-1])]
    ours = NeighborSampler(Neighbourhoods.of(graph), (9, 9)).sample(seeds)
    assert len(plain_loop(adjacent, seeds, (9, 9))) == len(ours.edge)
