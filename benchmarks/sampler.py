"""Neighbour sampling on the KJV graph, beside a plain loop and PyG's own sampler where its compiled packages are."""

import random
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch

from benchmarks.rows import Row, median_ratio
from data.graph.graph import Graph
from data.graph.neighbourhoods import Neighbourhoods
from data.graph.sampler import NeighborSampler
from ray_apps.config import load_run
from ray_apps.plan import Plan

RUNS = Path(__file__).resolve().parents[1] / "runs"
FAN_OUT = (25, 10)
SEEDS = 1024
BATCHES = 20

Nodes = npt.NDArray[np.int64]


def measure() -> list[Row]:
    """Sampled edges a second of one core, and how many times as fast that is as its peers."""
    split = Plan(load_run(RUNS / "kjv.yaml")).bring("split").path
    links = pq.read_table(split / "links.parquet", columns=["source", "target"])
    nodes = pq.read_metadata(split / "nodes.parquet").num_rows
    return rows(Graph.from_pairs(links["source"].to_numpy(), links["target"].to_numpy(), nodes))


def rows(graph: Graph, batches: int = BATCHES) -> list[Row]:
    """The rows for one graph; every sampler gets the same seeds and one thread."""
    rng = np.random.default_rng(0)
    seeds = [rng.choice(graph.num_nodes, min(SEEDS, graph.num_nodes), replace=False) for _ in range(batches)]
    sampler = NeighborSampler(Neighbourhoods.of(graph), FAN_OUT)
    edges = [len(sampler.sample(batch).edge) for batch in seeds]  # also warms the caches up
    turns = cycle(seeds[: len(seeds) // 10 or 1])
    adjacent = [row.tolist() for row in np.split(graph.indices, graph.indptr[1:-1])]

    def all_batches() -> None:
        for batch in seeds:
            sampler.sample(batch)

    ratio, seconds, of_loop = median_ratio(
        lambda: sampler.sample(next(turns)), lambda: plain_loop(adjacent, next(turns), FAN_OUT), repeats=5
    )
    _, all_seconds, _ = median_ratio(all_batches, lambda: None)
    rate = sum(edges) / all_seconds
    size = f"fan-out {FAN_OUT[0]}x{FAN_OUT[1]}, {len(seeds[0]):,} seeds a batch, {graph.num_nodes:,} nodes"
    what = f"edges a second that the neighbour sampler draws without replacement on one core, {size}"
    peer = f"{sum(edges) / len(edges):,.0f} edges a batch; {_pyg(graph, seeds)}"
    beside = f"plain loop {of_loop * 1e3:.0f} ms a batch, ours {seconds * 1e3:.1f} ms"
    return [
        Row(
            id="sampler.edges_per_s", what=what, value=round(rate), unit="edges/s", at_least=3e6, reach=1e7, peer=peer
        ),
        Row(
            id="sampler.loop_ratio",
            what="how many times as fast as a plain Python loop that draws the same",
            value=round(ratio, 1),
            unit="times",
            peer=beside,
        ),
    ]  # fmt: skip


def plain_loop(adjacent: list[list[int]], seeds: Nodes, fan_out: tuple[int, ...]) -> list[tuple[int, int]]:
    """The obvious way: edges in local numbers, with a dictionary of the nodes met."""
    local = {node: number for number, node in enumerate(seeds.tolist())}
    frontier, edges = list(local), []
    for width in fan_out:
        fresh = []
        for node in frontier:
            around = adjacent[node]
            for neighbour in around if len(around) <= width else random.sample(around, width):
                if neighbour not in local:
                    local[neighbour] = len(local)
                    fresh.append(neighbour)
                edges.append((local[neighbour], local[node]))
        frontier = fresh
    return edges


def _pyg(graph: Graph, seeds: list[Nodes]) -> str:
    """The figure of PyG's own sampler, or why there is none."""
    if find_spec("pyg_lib") is None:
        return "PyG's own sampler needs pyg-lib, which PyPI does not have"
    pyg_lib = import_module("pyg_lib")
    indptr, indices = torch.from_numpy(graph.indptr), torch.from_numpy(graph.indices).long()
    torch.set_num_threads(1)
    drawn = 0

    def all_batches() -> None:
        nonlocal drawn
        for batch in seeds:
            row, *_ = pyg_lib.sampler.neighbor_sample(indptr, indices, torch.from_numpy(batch), list(FAN_OUT))
            drawn += len(row)

    _, seconds, _ = median_ratio(all_batches, lambda: None)
    return f"pyg-lib {drawn / 3 / seconds:,.0f} edges/s"
