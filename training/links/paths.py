"""Paths of two and of three links between the two ends of pairs, for the pairs wanted alone.

Shapes: N documents, E entries of the adjacency (each link twice), P pairs, C shared neighbours of all pairs together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from data.graph.graph import Graph
from data.graph.neighbourhoods import spans

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_SCRATCH = 2**22  # floats of the rows that the neighbourhoods of sources are scattered into: 16 MiB


@dataclass(frozen=True)
class Paths:
    """Paths between the ends of P pairs.

    Attributes:
        pair: int64 (C,), which pair shares the neighbour; ascending.
        first: int64 (C,), place in the graph's ``indices`` of the link from the source to the neighbour.
        second: int64 (C,), the same from the target.
        three: float32 (P,), paths of three links source-a-b-target over four documents, each by 1/sqrt(d_a d_b)
            (Kovács et al., Nature Communications 10, 2019).
    """

    pair: Integers
    first: Integers
    second: Integers
    three: Floats


class PathFinder:
    """Finds the paths of pairs on one graph.

    What is one and two links from a source is scattered into a row of scratch, from which the neighbours of its targets
    gather; only what was written is cleared. So a source costs what is near it, and a pair its target's degree.

    Args:
        graph: N documents, E entries.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.root = np.where(graph.degrees > 0, np.maximum(graph.degrees, 1) ** -0.5, 0).astype(np.float32)

    def between(self, s: Integers, t: Integers) -> Paths:
        """Paths of P pairs that are not linked: int64 (P,) twice, ``s`` ascending."""
        parts = list(self._blocks(s, t)) or [_nothing()]
        names = [field.name for field in fields(Paths)]
        return Paths(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _blocks(self, s: Integers, t: Integers) -> Iterator[Paths]:
        """The same for as many sources at once as have a row of scratch."""
        sources, row = np.unique(s, return_inverse=True)
        n = self.graph.num_nodes
        rows = max(1, min(len(sources), _SCRATCH // n))
        once, twice = np.zeros(rows * n, np.int32), np.zeros(rows * n, np.float32)
        bounds = np.searchsorted(row, np.arange(0, len(sources) + rows, rows))
        for number, start in enumerate(range(0, len(sources), rows)):
            block, pairs = sources[start : start + rows], slice(bounds[number], bounds[number + 1])
            places = spans(self.graph.indptr[block], self.graph.degrees[block])
            near = np.repeat(np.arange(len(block)) * n, self.graph.degrees[block]) + self.graph.indices[places]
            once[near] = np.arange(1, len(near) + 1)
            far, weights = self._two_links(block)
            twice[far] = weights
            twice[np.arange(len(block)) * n + block] = 0  # not back through the source
            found = self._gather(row[pairs] - start, t[pairs], once, twice)
            yield Paths(found.pair + pairs.start, places[found.first], found.second, found.three)
            once[near] = 0
            twice[far] = 0

    def _two_links(self, sources: Integers) -> tuple[Integers, Floats]:
        """Places in scratch of what is two links from each source, by 1/sqrt(d_a d_b) of the documents on the way."""
        near = self.graph.adjacency[sources]
        near.data = self.root[near.indices]
        far = (near @ self.graph.adjacency).tocsr()
        row = np.repeat(np.arange(len(sources)), np.diff(far.indptr))
        return row * self.graph.num_nodes + far.indices, far.data * self.root[far.indices]

    def _gather(self, row: Integers, t: Integers, once: npt.NDArray[np.int32], twice: Floats) -> Paths:
        """What the neighbours of each target find in its source's row; ``first`` counts the entries of ``once``."""
        ends = self.graph.adjacency[t]
        lengths, starts = np.diff(ends.indptr), ends.indptr[:-1]
        pair_of_end = np.repeat(np.arange(len(t), dtype=np.int32), lengths)
        at = (row * self.graph.num_nodes).astype(np.int32)[pair_of_end]
        at += ends.indices
        three, linked = np.zeros(len(t), np.float32), lengths > 0
        if linked.any():
            three[linked] = np.add.reduceat(twice[at], starts[linked])
        place = once[at]
        shared = np.flatnonzero(place)
        pair = pair_of_end[shared].astype(np.int64)
        first = place[shared].astype(np.int64) - 1
        return Paths(pair, first, self.graph.indptr[t[pair]] + shared - starts[pair], three)


def _nothing() -> Paths:
    none = np.zeros(0, np.int64)
    return Paths(none, none, none, np.zeros(0, np.float32))
