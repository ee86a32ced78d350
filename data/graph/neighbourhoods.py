"""Edges by the node that receives their message, in compressed rows, with the relation and the time of each.

Shapes: n nodes, R relations, m stored edges.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from data.graph.graph import Graph
from data.matrices import distinct

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Neighbourhoods:
    """Row ``node * R + relation`` holds the edges of one relation into one node, oldest first where they have times.

    Unlike ``Graph``, the same pair may be joined more than once: by other relations, or at other times.

    Shapes:
        indptr: int64 (n * R + 1,).
        neighbour: int32 (m,), where the message comes from; ascending in each row that has no times.
        edge: int64 (m,), number of the edge as it was given; both directions of a link have the same.
        time: int64 (m,), ascending in each row; None where edges have none.
    """

    indptr: Integers
    neighbour: npt.NDArray[np.int32]
    edge: Integers
    relations: int = 1
    time: Integers | None = None

    @classmethod
    def from_edges(
        cls,
        sources: Integers,
        targets: Integers,
        num_nodes: int,
        *,
        direction: Literal["both", "forward"] = "both",
        relation: Integers | None = None,
        relations: int = 1,
        time: Integers | None = None,
    ) -> "Neighbourhoods":
        """Rows of m edges; loops vanish, since a node's own state reaches it without an edge.

        Args:
            sources: int64 (m,) node numbers.
            targets: int64 (m,) node numbers.
            num_nodes: n.
            direction: ``forward`` sends messages from source to target alone; ``both`` also back, and with relations
                the way back of relation r is relation ``r + relations``, as R-GCN has it.
            relation: int64 (m,) from 0 to ``relations - 1``; None where edges have one kind only.
            relations: number of relations of the edges given.
            time: int64 (m,), in any unit.

        Raises:
            ValueError: if an end is no node, or a relation is out of range.
        """
        ends = (sources, targets)
        if len(sources) and (min(end.min() for end in ends) < 0 or max(end.max() for end in ends) >= num_nodes):
            raise ValueError(f"edges must join nodes 0 to {num_nodes - 1}")
        if relation is not None and len(relation) and not 0 <= relation.min() <= relation.max() < relations:
            raise ValueError(f"relations must be 0 to {relations - 1}, got {relation.min()} to {relation.max()}")
        kept = np.flatnonzero(sources != targets)
        origin, into, edge = sources[kept], targets[kept], kept
        kind = np.zeros(len(kept), np.int64) if relation is None else relation[kept].astype(np.int64)
        total = relations
        if direction == "both":
            origin, into, edge = np.concatenate([origin, into]), np.concatenate([into, origin]), np.tile(edge, 2)
            back = 0 if relation is None else relations
            kind, total = np.concatenate([kind, kind + back]), relations + back
        row = into.astype(np.int64) * total + kind
        when = None if time is None else time[edge].astype(np.int64)
        order = np.lexsort((origin, row) if when is None else (origin, when, row))
        indptr = np.zeros(num_nodes * total + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=num_nodes * total), out=indptr[1:])
        when = None if when is None else when[order]
        return cls(indptr, origin[order].astype(np.int32), edge[order].astype(np.int64), total, when)

    @classmethod
    def of(cls, graph: Graph) -> "Neighbourhoods":
        """Rows of an undirected graph, whose arrays are shared; an edge's number is its place in ``indices``."""
        return cls(graph.indptr, graph.indices, np.arange(len(graph.indices)))

    @property
    def num_nodes(self) -> int:
        """Nodes, isolated ones included."""
        return (len(self.indptr) - 1) // self.relations

    def relation_of(self, places: Integers) -> Integers:
        """Relation of edges by their places in ``neighbour``, int64 of the same shape."""
        return np.asarray((np.searchsorted(self.indptr, places, side="right") - 1) % self.relations, np.int64)

    def places(self, sources: Integers, targets: Integers) -> Integers:
        """Places in ``neighbour`` of all edges between the ends of k pairs, in both directions; each once, ascending.

        Of every relation and time: an edge that repeats a supervised one would give it away.

        Args:
            sources: int64 (k,).
            targets: int64 (k,).
        """
        into, origin = np.concatenate([targets, sources]), np.concatenate([sources, targets])
        first, last = self.indptr[into * self.relations], self.indptr[(into + 1) * self.relations]
        values, order = self._by_neighbour
        low = bisect(values, first, last, origin, "left")
        high = bisect(values, low, last, origin, "right")
        found = spans(low, high - low)
        return distinct(found if order is None else order[found])

    @cached_property
    def _by_neighbour(self) -> tuple[npt.NDArray[np.int32], Integers | None]:
        """``neighbour`` ascending for each node, and the place of each value; None where it is so already."""
        if self.relations == 1 and self.time is None:
            return self.neighbour, None
        node = np.repeat(np.arange(self.num_nodes), np.diff(self.indptr[:: self.relations]))
        order = np.lexsort((self.neighbour, node))
        return self.neighbour[order], order


def spans(starts: Integers, counts: Integers) -> Integers:
    """``start, start + 1, …`` of each span, one after another: int64 (k,) twice in, int64 (sum of counts,) out."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def bisect(
    values: npt.NDArray[np.integer], low: Integers, high: Integers, wanted: Integers, side: Literal["left", "right"]
) -> Integers:
    """``np.searchsorted`` in many spans at once: all are halved together, as often as the longest needs.

    Args:
        values: ascending within each span.
        low: int64 (k,), where each span starts.
        high: int64 (k,), where it ends.
        wanted: int64 (k,), the value that is looked up in it.
        side: as of ``np.searchsorted``.

    Returns:
        int64 (k,), from ``low`` to ``high``.
    """
    low, high = low.copy(), high.copy()
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) // 2
        here = values[np.minimum(middle, len(values) - 1)]
        goes_right = (low < high) & (here < wanted if side == "left" else here <= wanted)
        low, high = np.where(goes_right, middle + 1, low), np.where(goes_right, high, middle)
    return low
