"""Local numbers of the nodes of a sampled subgraph, given out as they are found."""

from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from data.graph.neighbourhoods import Integers

Nodes = npt.NDArray[np.integer]


class Numbered(Protocol):
    """Nodes of one subgraph; local number = place."""

    def add(self, nodes: Nodes, beside: Integers) -> tuple[Integers, Integers]:
        """Number e nodes, each found beside a node of a local number.

        Returns:
            Local numbers, int64 (e,); and the nodes met for the first time, int64, in the order of their numbers.
        """

    @property
    def seed_of(self) -> Integers | None:
        """Which seed each node was found from, int64, by local number; None where that makes no difference."""


class OneNumbering:
    """One number a node, whoever finds it; by an array of all nodes, so without sorting.

    Args:
        local: int32 (n,) of -1, scratch that is so again after the ``with`` block.
        seeds: int64 (s,), all different.
    """

    def __init__(self, local: npt.NDArray[np.int32], seeds: Integers) -> None:
        self._local, self._parts, self._count = local, [seeds], len(seeds)
        self.seed_of: Integers | None = None

    def __enter__(self) -> "OneNumbering":
        self._local[self._parts[0]] = np.arange(self._count)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for part in self._parts:
            self._local[part] = -1

    def add(self, nodes: Nodes, beside: Integers) -> tuple[Integers, Integers]:
        """See ``Numbered``. Of the places where a new node stands, the one that was written last is its first."""
        new = nodes[self._local[nodes] < 0]
        place = np.arange(len(new), dtype=np.int32)
        self._local[new] = place
        fresh = new[self._local[new] == place].astype(np.int64)
        self._local[fresh] = self._count + np.arange(len(fresh))
        self._parts.append(fresh)
        self._count += len(fresh)
        return self._local[nodes].astype(np.int64), fresh


class SeedNumbering:
    """One number a node and seed: the subgraphs of the seeds share nothing.

    Args:
        num_nodes: n.
        seeds: int64 (s,); repeats are seeds of their own.
    """

    def __init__(self, num_nodes: int, seeds: Integers) -> None:
        self._num_nodes = num_nodes
        self.seed_of: Integers = np.arange(len(seeds))
        self._codes: Integers = self.seed_of * num_nodes + seeds  # by local number
        self._order: Integers = np.arange(len(seeds))  # that sorts them

    def add(self, nodes: Nodes, beside: Integers) -> tuple[Integers, Integers]:
        """See ``Numbered``."""
        count = len(self._codes)
        codes, place = np.unique(self.seed_of[beside] * self._num_nodes + nodes, return_inverse=True)
        at: Integers = np.searchsorted(self._codes, np.asarray(codes), sorter=self._order)
        known = self._codes[self._order[np.minimum(at, count - 1)]] == codes if count else np.zeros(0, bool)
        number = np.empty(len(codes), np.int64)
        number[known] = self._order[at[known]]
        number[~known] = count + np.arange(int((~known).sum()))
        self._codes = np.concatenate([self._codes, codes[~known]])
        self._order = np.insert(self._order, at[~known], number[~known])
        self.seed_of = np.concatenate([self.seed_of, codes[~known] // self._num_nodes])
        return number[place], codes[~known] % self._num_nodes
