"""Neighbour sampling on a CSR graph, in NumPy alone, behind PyG's sampler interface."""

import numpy as np
import torch
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, NodeSamplerInput, SamplerOutput

from data.graph.graph import Graph


class NeighborSampler(BaseSampler):
    """Draws for each node at most ``fan_out[hop]`` of its neighbours, uniformly and without replacement.

    GraphSAGE's sampling (Hamilton, Ying and Leskovec, NeurIPS 2017). The draw is Floyd's (CACM 30, 1987) over all nodes
    of a hop at once: its cost does not depend on degrees, so a hub costs as much as any node.

    Args:
        graph: n nodes.
        fan_out: neighbours drawn a node, one number a hop.
        rng: the only source of chance.
    """

    def __init__(self, graph: Graph, fan_out: tuple[int, ...], rng: np.random.Generator) -> None:
        self.indptr, self.indices = graph.indptr, graph.indices
        self.num_nodes = graph.num_nodes
        self.fan_out = fan_out
        self.rng = rng
        self._local = np.full(graph.num_nodes, -1, np.int64)  # scratch: global to local node number

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: object) -> SamplerOutput:
        """Subgraph around seed nodes; see ``sample``."""
        return self.sample(index.node.numpy())

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: object = None) -> SamplerOutput:
        """Subgraph around both ends of seed links, with those links and their reverses left out."""
        if neg_sampling is not None:
            raise ValueError(
                "negatives are drawn by training.links.batches, not by the sampler: pass neg_sampling=None"
            )
        ends = np.stack([index.row.numpy(), index.col.numpy()])
        return self.sample(ends.reshape(-1), without=ends)

    def sample(self, seeds: np.ndarray, without: np.ndarray | None = None) -> SamplerOutput:
        """Sample ``len(fan_out)`` hops around seeds.

        Args:
            seeds: int64 (s,); repeats are folded.
            without: int64 (2, k), links to leave out in both directions: the supervision of a training batch.

        Returns:
            ``node`` (global numbers, seeds first), and edges ``row`` → ``col`` in local numbers, pointing to the seeds.
        """
        banned = self._codes(without) if without is not None else None
        nodes = [np.unique(seeds)]
        self._local[nodes[0]] = np.arange(len(nodes[0]))
        count, rows, cols, per_hop = len(nodes[0]), [], [], [len(nodes[0])]
        for width in self.fan_out:
            frontier = nodes[-1]
            target, neighbour = self._draw(frontier, self.indptr[frontier + 1] - self.indptr[frontier], width)
            target, neighbour = frontier[target], neighbour
            if banned is not None:
                kept = ~np.isin(target * self.num_nodes + neighbour, banned)
                target, neighbour = target[kept], neighbour[kept]
            fresh = np.unique(neighbour[self._local[neighbour] < 0])
            self._local[fresh] = np.arange(count, count + len(fresh))
            rows.append(self._local[neighbour])
            cols.append(self._local[target])
            nodes.append(fresh)
            per_hop.append(len(fresh))
            count += len(fresh)
        found = np.concatenate(nodes)
        self._local[found] = -1
        return _output(found, rows, cols, per_hop)

    def _codes(self, links: np.ndarray) -> np.ndarray:
        return np.concatenate([links[0] * self.num_nodes + links[1], links[1] * self.num_nodes + links[0]])

    def _draw(self, frontier: np.ndarray, degrees: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Distinct neighbours of each frontier node: positions in the frontier (e,), and neighbours (e,)."""
        offsets = np.full((len(frontier), width), -1, np.int64)
        few = degrees <= width
        offsets[few] = np.where(np.arange(width) < degrees[few, None], np.arange(width), -1)
        many = degrees[~few]
        drawn = np.full((len(many), width), -1, np.int64)
        for step in range(width):
            last = many - width + step
            pick = (self.rng.random(len(many)) * (last + 1)).astype(np.int64)
            taken = (drawn[:, :step] == pick[:, None]).any(axis=1)
            drawn[:, step] = np.where(taken, last, pick)
        offsets[~few] = drawn
        position, slot = np.nonzero(offsets >= 0)
        edges = self.indptr[frontier[position]] + offsets[position, slot]
        return position, self.indices[edges].astype(np.int64)


def _output(nodes: np.ndarray, rows: list[np.ndarray], cols: list[np.ndarray], per_hop: list[int]) -> SamplerOutput:
    return SamplerOutput(
        node=torch.from_numpy(nodes),
        row=torch.from_numpy(np.concatenate(rows)),
        col=torch.from_numpy(np.concatenate(cols)),
        edge=None,
        num_sampled_nodes=per_hop,
        num_sampled_edges=[len(edges) for edges in rows],
    )
