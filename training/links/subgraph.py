"""The part of a graph that a batch's states depend on, drawn for each batch: training on graphs that do not fit.

Shapes: N documents, S documents that states are wanted of, n documents of a subgraph, e entries of it, I inputs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from data.graph.graph import Graph
from data.graph.neighbourhoods import Neighbourhoods
from training.links.inputs import Inputs
from training.links.nodes import LinkModel, inputs_of
from training.links.propagation import Reach, Turned

if TYPE_CHECKING:
    from data.graph.sampler import NeighborSampler, Sampled


@dataclass
class Subgraph:
    """Documents around those that states are wanted of, and the entries that states pass along; ``Adjacency``.

    The wanted documents come first, then hop by hop what is beyond, so that what a step needs are the first rows.

    Shapes:
        indices_E, rows_E, relation_E: int64 (e,), local numbers and relations. starts_N: int64 (n,). weight_E: float32
            (e,), links that an entry stands for. degrees_N: float32 (n,), of the whole graph without the batch's links.
    """

    inputs: Inputs
    reaches: list[Reach]
    indices_E: Tensor
    starts_N: Tensor
    rows_E: Tensor
    relation_E: Tensor
    weight_E: Tensor
    degrees_N: Tensor

    def reach(self, step: int) -> Reach:
        """The documents from which the wanted ones are reached in the steps that are left."""
        return self.reaches[step - 1]

    def to(self, device: torch.device) -> "Subgraph":
        """The same, moved to a device."""
        self.inputs.to(device)
        for name in ("indices_E", "starts_N", "rows_E", "relation_E", "weight_E", "degrees_N"):
            setattr(self, name, getattr(self, name).to(device))
        self.reaches = [Reach(one.rows, one.entries, one.turned and one.turned.to(device)) for one in self.reaches]
        return self


class Subgraphs:
    """Draws subgraphs of one training graph for one model.

    The sum over a document's d neighbours is estimated from k of them, drawn without replacement, each for d / k:

        (D^-½ A D^-½ x)_i ≈ Σ_{j drawn} d_i / k_i · x_j / √(d_i d_j),

    with the degrees of the whole graph less the batch's own links. Its mean over all draws is the sum itself. Two steps
    multiply independent draws, so their mean is that of full propagation too; from three steps on, a walk that comes
    back to a document meets the same draw twice, which biases it a little. Convolutions take what was drawn as it is
    (Hamilton, Ying and Leskovec, NeurIPS 2017).

    Args:
        graph: of the training links.
        model: whose steps and inputs are wanted.
        vectors: float32 (N, dim); may be memory-mapped.
        words: float32 (N, terms), or None.
        neighbours: drawn of each document, a number a step; the last counts for all further steps; -1 takes all.
        relation: int64, of each entry of the adjacency; None where they do not matter.
    """

    def __init__(
        self,
        graph: Graph,
        model: LinkModel,
        vectors: np.ndarray,
        words: sp.csr_matrix | None,
        neighbours: tuple[int, ...],
        relation: np.ndarray | None = None,
    ) -> None:
        self.graph, self._model, self._vectors, self._words, self._relation = graph, model, vectors, words, relation
        steps = model.shape.config.steps if model.shape.config.encoder != "none" else 0
        self.fan_out = tuple(neighbours[min(step, len(neighbours) - 1)] for step in range(steps))
        self._linear = model.shape.config.encoder == "linear"
        self._neighbourhoods = Neighbourhoods.of(graph)

    def sampler(self, *seed: int) -> "NeighborSampler":
        """A sampler whose draws follow from some numbers."""
        # PyG, whose interface it has, takes a second of every worker that imports it; whole graphs are not sampled.
        from data.graph.sampler import NeighborSampler

        return NeighborSampler(self._neighbourhoods, self.fan_out, seed)

    def around(self, sampler: "NeighborSampler", wanted: np.ndarray, without: np.ndarray) -> Subgraph:
        """The subgraph around documents.

        Args:
            sampler: of ``sampler``.
            wanted: int64 (S,), all different.
            without: int64 (2, k), links that are taken out of the graph, each once.
        """
        found = sampler.sample(wanted, without)
        gone = np.bincount(without.ravel(), minlength=self.graph.num_nodes)[found.node]
        degrees = (self.graph.degrees[found.node] - gone).astype(np.float32)
        count = len(found.node)
        drawn = np.bincount(found.target, minlength=count)
        starts = np.cumsum(drawn) - drawn
        weight = (degrees / np.maximum(drawn, 1)).astype(np.float32)[found.target]
        relation = np.zeros(len(found.edge), np.int64) if self._relation is None else self._relation[found.edge]
        numbers = (found.source, starts, found.target, relation, weight, degrees)
        return Subgraph(
            inputs_of(self._model, self._vectors, self._words, nodes=found.node),
            self._reaches(found, starts),
            *(torch.from_numpy(each) for each in numbers),
        )

    def _reaches(self, found: "Sampled", starts: np.ndarray) -> list[Reach]:
        """Of each step: the first step needs all rows that were looked around, the last one the wanted documents."""
        nodes, entries = np.cumsum(found.nodes_per_hop), np.cumsum(found.edges_per_hop)
        reaches = []
        for hop in reversed(range(len(self.fan_out))):
            turned = None
            if self._linear:
                turned = Turned.of(found.source[: entries[hop]], starts[: nodes[hop]], int(nodes[hop + 1]))
            reaches.append(Reach(int(nodes[hop]), int(entries[hop]), turned))
        return reaches
