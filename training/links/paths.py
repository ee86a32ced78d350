"""Paths of two and of three links, and walks, between the two ends of pairs, for the pairs wanted alone.

Shapes: N documents, E entries of the adjacency (each link twice), P pairs, C shared neighbours of all pairs together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from data.graph.graph import Graph
from data.graph.neighbourhoods import spans
from evaluation.baselines import LocalPush

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

WALK_TOLERANCE = 3e-3  # walks that reach a link more seldom are not followed: ranks as well as a tenth of it
_SOURCES_AT_ONCE = 1024  # whose walks are pushed together
_SCRATCH = 2**22  # floats of each kind of the rows that the neighbourhoods of sources are scattered into: 16 MiB


@dataclass(frozen=True)
class Paths:
    """Paths between the ends of P pairs.

    Attributes:
        pair: int64 (C,), which pair shares the neighbour; ascending.
        first: int64 (C,), place in the graph's ``indices`` of the link from the source to the neighbour.
        second: int64 (C,), the same from the target.
        three: float32 (P,), paths of three links source-a-b-target over four documents, each by 1/sqrt(d_a d_b)
            (Kovács et al., Nature Communications 10, 2019).
        visits: float32 (P,), how often walks from the source visit the target: as ``LocalPush.rows``.
    """

    pair: Integers
    first: Integers
    second: Integers
    three: Floats
    visits: Floats


class PathFinder:
    """Finds the paths of pairs on one graph.

    What is one and two links from a source, and where its walks stand, is scattered into a row of scratch, from which
    its targets and their neighbours gather; only what was written is cleared. So a source costs what is near it, and a
    pair its target's degree.

    Args:
        graph: N documents, E entries.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._walks = LocalPush(graph, tolerance=WALK_TOLERANCE)
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
        scratch = _Scratch.empty(rows * n)
        bounds = np.searchsorted(row, np.arange(0, len(sources) + rows, rows))
        together = rows * max(1, _SOURCES_AT_ONCE // rows)
        for number, start in enumerate(range(0, len(sources), rows)):
            if start % together == 0:
                visits, ahead = self._walks.pushed(sources[start : start + together])
            block, pairs = sources[start : start + rows], slice(bounds[number], bounds[number + 1])
            places = spans(self.graph.indptr[block], self.graph.degrees[block])
            near = np.repeat(np.arange(len(block)) * n, self.graph.degrees[block]) + self.graph.indices[places]
            scratch.once[near] = np.arange(1, len(near) + 1)
            far, weights = self._two_links(block)
            scratch.twice[far] = weights
            scratch.twice[np.arange(len(block)) * n + block] = 0  # not back through the source
            of_block = slice(start % together, start % together + rows)
            there, onward = visits[of_block], ahead[of_block]
            stood, passed = _places(there), _places(onward)
            scratch.visits[stood], scratch.ahead[passed] = there.data, onward.data
            found = self._gather(row[pairs] - start, t[pairs], scratch)
            yield replace(found, pair=found.pair + pairs.start, first=places[found.first])
            scratch.once[near] = 0
            scratch.twice[far] = scratch.visits[stood] = scratch.ahead[passed] = 0

    def _two_links(self, sources: Integers) -> tuple[Integers, Floats]:
        """Places in scratch of what is two links from each source, by 1/sqrt(d_a d_b) of the documents on the way."""
        near = self.graph.adjacency[sources]
        near.data = self.root[near.indices]
        far = (near @ self.graph.adjacency).tocsr()
        return _places(far), far.data * self.root[far.indices]

    def _gather(self, row: Integers, t: Integers, scratch: "_Scratch") -> Paths:
        """What each target and its neighbours find in its source's row; ``first`` counts the entries of ``once``."""
        ends = self.graph.adjacency[t]
        lengths, starts = np.diff(ends.indptr), ends.indptr[:-1]
        pair_of_end = np.repeat(np.arange(len(t), dtype=np.int32), lengths)
        start_of_row = (row * self.graph.num_nodes).astype(np.int32)
        at = start_of_row[pair_of_end]
        at += ends.indices
        three, visits, linked = np.zeros(len(t), np.float32), scratch.visits[start_of_row + t], lengths > 0
        if linked.any():
            three[linked] = np.add.reduceat(scratch.twice[at], starts[linked])
            visits[linked] += np.add.reduceat(scratch.ahead[at], starts[linked])
        place = scratch.once[at]
        shared = np.flatnonzero(place)
        pair = pair_of_end[shared].astype(np.int64)
        first = place[shared].astype(np.int64) - 1
        return Paths(pair, first, self.graph.indptr[t[pair]] + shared - starts[pair], three, visits)


@dataclass(frozen=True)
class _Scratch:
    """Rows of what is near a few sources, one document after another: zero where nothing is.

    Attributes:
        once: int32, 1 + number of the link to a neighbour.
        twice: float32, paths of two links.
        visits: float32, of walks.
        ahead: float32, of walks, what each neighbour gets by one step more.
    """

    once: npt.NDArray[np.int32]
    twice: Floats
    visits: Floats
    ahead: Floats

    @classmethod
    def empty(cls, size: int) -> "_Scratch":
        """Of ``size`` places."""
        once = np.zeros(size, np.int32)
        return cls(once, *(np.zeros(size, np.float32) for _ in range(3)))


def _places(near: sp.csr_array) -> Integers:
    """Where each entry of CSR (S, N) stands in scratch."""
    return np.repeat(np.arange(near.shape[0]) * near.shape[1], np.diff(near.indptr)) + near.indices


def _nothing() -> Paths:
    none, nought = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return Paths(none, none, none, nought, nought)
