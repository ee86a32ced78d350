"""States of all documents over every link of a graph: at once where they fit, else a block of rows after another.

Shapes: N documents, W width of a state, R rows of a block, e entries of a block.
"""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from data.graph.graph import Graph, GraphArtifact
from training.links.inputs import LinkTensors, relation_of_entries
from training.links.nodes import LinkModel, all_states, inputs_of
from training.links.propagation import root_degrees, sum_neighbours

NODE_VECTORS = "node_vectors.npy"  # states of all documents, beside the model of them
WHOLE = 2**25  # floats of the states of all documents up to which they are computed at once: 128 MiB, about six times
ROWS = 2**15  # of a block


def states_of(model: LinkModel, graph: GraphArtifact) -> np.ndarray:
    """States of a graph's documents over the links that may be seen: float32 (N, W)."""
    return states_over(model, graph, graph.seen_graph)


def states_over(model: LinkModel, documents: GraphArtifact, links: Graph, out: Path | None = None) -> np.ndarray:
    """States of all documents over some links: float32 (N, W).

    Args:
        model: on any device; states of many documents are computed on the CPU.
        documents: vectors and words.
        links: that states pass along.
        out: file for the states, ``.npy``, which are memory-mapped then; None keeps them in memory.
    """
    if model.temperature.device.type != "cpu":
        model = copy.deepcopy(model).cpu()
    with_relations = model.shape.config.encoder == "rgcn"
    relation = relation_of_entries(documents, links) if with_relations else None
    if links.num_nodes * model.shape.config.width > WHOLE:
        return block_states(model, documents.vectors, documents.words, links, relation, out)
    found = all_states(
        model, inputs_of(model, documents.vectors, documents.words), LinkTensors(links, relation_E=relation)
    )
    states: np.ndarray = found.numpy()
    if out is not None:
        np.save(out, states)
    return states


@torch.no_grad()
def states_alone(model: LinkModel, documents: GraphArtifact, start: int) -> np.ndarray:
    """States of the last documents of a graph, from ``start`` on, that nothing links with: float32 (N - start, W)."""
    more = np.arange(start, len(documents.ids))
    nothing = Graph(np.zeros(len(more) + 1, np.int64), np.zeros(0, np.int32))
    inputs = inputs_of(model, documents.vectors, documents.words, nodes=more)
    states: np.ndarray = all_states(model, inputs, LinkTensors(nothing)).numpy()
    return states


@torch.no_grad()
def block_states(
    model: LinkModel,
    vectors: np.ndarray,
    words: sp.csr_matrix | None,
    links: Graph,
    relation: np.ndarray | None = None,
    out: Path | None = None,
    rows: int = ROWS,
) -> np.ndarray:
    """The same states, computed ``rows`` documents at a time.

    Memory: three arrays of N x W float32, which lie in ``out`` and in temporary files beside it where it is given, so
    that the system may write them back; and the entries of one block.

    Args:
        model: on the CPU.
        vectors: float32 (N, dim); may be memory-mapped.
        words: float32 (N, terms), or None.
        links: that states pass along.
        relation: int64, of each entry of the adjacency; None where they do not matter.
        out: file for the states; None keeps everything in memory.
        rows: of a block.
    """
    model.eval()
    config, shape = model.shape.config, (links.num_nodes, model.shape.config.width)
    with tempfile.TemporaryDirectory(dir=out.parent if out else None) as folder:
        now, after = (_array(Path(folder) / f"{name}.npy" if out else None, shape) for name in ("now", "after"))
        total = _array(out, shape)
        blocks = [slice(start, min(start + rows, shape[0])) for start in range(0, shape[0], rows)]
        for block in blocks:
            now[block] = model.start(inputs_of(model, vectors, words, nodes=np.arange(block.start, block.stop)))
            total[block] = now[block] * model.mix[0] if model.mix is not None else now[block]
        steps = range(1, config.steps + 1) if config.encoder != "none" else range(0)
        root_N1 = root_degrees(torch.from_numpy(links.degrees.astype(np.float32)))
        for step in steps:
            for block, indices_E, starts_R, relation_E in _entries(links, relation, blocks):
                if model.mix is not None:
                    after[block] = root_N1[block] * sum_neighbours(now, root_N1[indices_E, 0], indices_E, starts_R)
                    total[block] += after[block] * model.mix[step]
                else:
                    after[block] = _convolved(model, step, now, block, indices_E, starts_R, relation_E)
            now, after = after, now
        for block in blocks:
            total[block] = model.finish(total[block] if model.mix is not None else now[block])
        found: np.ndarray = total.numpy()
    return found


def _array(path: Path | None, shape: tuple[int, int]) -> Tensor:
    if path is None:
        return torch.empty(shape)
    return torch.from_numpy(np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape))


def _entries(
    links: Graph, relation: np.ndarray | None, blocks: list[slice]
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Of each block of rows: the documents that its entries come from, where rows start, and relations."""
    for block in blocks:
        first, last = links.indptr[block.start], links.indptr[block.stop]
        indices = torch.from_numpy(links.indices[first:last].astype(np.int64))
        kinds = np.zeros(last - first, np.int64) if relation is None else relation[first:last]
        yield block, indices, torch.from_numpy(links.indptr[block] - first), torch.from_numpy(kinds)


def _convolved(
    model: LinkModel, step: int, now: Tensor, block: slice, indices_E: Tensor, starts_R: Tensor, relation_E: Tensor
) -> Tensor:
    near, place = torch.unique(indices_E, return_inverse=True)
    counts = torch.diff(starts_R, append=torch.tensor([len(indices_E)]))
    row = torch.repeat_interleave(torch.arange(block.stop - block.start), counts)
    return model.convolve(step, now[near], now[block], torch.stack([place, row]), relation_E)
