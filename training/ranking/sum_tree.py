"""Weights under a binary tree of their sums: drawn and changed in O(log n), many at once.

Shapes: B places, drawn or changed together.
"""

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


class SumTree:
    """Non-negative weights by place, and their sums (Schaul et al., ICLR 2016, appendix B.2.1).

    The tree is complete and lies in one array: node 1 is the root, nodes 2i and 2i + 1 are the children of i, and the
    leaves are the weights. A sum is always that of its two children as they are now, so errors of rounding do not add
    up over millions of changes.

    Args:
        size: of places, at least 1; all weights are 0 at first.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._leaves = 1 << (size - 1).bit_length()
        self._sums = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return float(self._sums[1])

    @property
    def weights(self) -> Weights:
        """The weights of all places, a view of shape (size,) that is not to be changed."""
        return self._sums[self._leaves : self._leaves + self.size]

    def change(self, places_B: Places, weights_B: Weights) -> None:
        """Give places new weights; of a place named twice the last weight counts.

        Args:
            places_B: from 0 to ``size`` - 1.
            weights_B: finite, at least 0.
        """
        nodes = places_B + self._leaves
        self._sums[nodes] = weights_B
        while len(nodes) and nodes[0] > 1:
            nodes = nodes >> 1
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def find(self, targets_B: Weights) -> Places:
        """The places in whose stretch of the running sum of weights each target falls; never one of weight 0.

        Args:
            targets_B: at least 0 and less than ``total``, which must not be 0.
        """
        nodes, left = np.ones(len(targets_B), np.int64), np.array(targets_B, np.float64)
        for _ in range(self._leaves.bit_length() - 1):
            nodes *= 2
            sums = self._sums[nodes]
            goes_right = (left >= sums) & (self._sums[nodes + 1] > 0)  # rounding may leave a little more than there is
            left -= sums * goes_right
            nodes += goes_right
        return nodes - self._leaves
