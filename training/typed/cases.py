"""Answers by cases: documents with alike texts have alike answers.

Case-based reasoning over a knowledge graph (Das et al., AKBC 2020) by the texts of the heads: to (head, relation, ?)
every training triple of the relation gives its tail a vote that falls with the distance of the two heads' texts.
Nothing is learnt, so heads without a training triple are answered as well as any.

Shapes: N documents, D floats of a text vector, B questions, K triples, W = 2R relations and ways back.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from evaluation.triples import both_ways

Nodes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float32]

POWER = 8  # of the cosine of two heads: 0.9 counts 6 times as much as 0.7


class Cases:
    """Votes of training triples.

    Args:
        triples: int64 (K, 3), the training triples.
        relations: R.
        vectors: float32 (N, D) text vectors of unit length or zero; may be memory-mapped.
        most: triples of a relation that vote; of more, as many are drawn, so that a question's cost has a bound.
        seed: of that draw.
    """

    def __init__(
        self, triples: Nodes, relations: int, vectors: npt.NDArray[np.float32], most: int = 50_000, seed: int = 0
    ) -> None:
        self._vectors, rng = vectors, np.random.default_rng(seed)
        asked = both_ways(triples, relations)
        asked = asked[np.argsort(asked[:, 1], kind="stable")]
        ends = np.searchsorted(asked[:, 1], np.arange(2 * relations + 1))
        self._heads: list[Nodes] = []
        self._votes: list[sp.csr_array] = []
        for first, last in pairwise(ends):
            chosen = np.arange(first, last) if last - first <= most else first + rng.choice(last - first, most, False)
            heads, case = np.unique(asked[chosen, 0], return_inverse=True)
            ones = np.ones(len(chosen), np.float32)
            shape = (len(vectors), len(heads))
            self._heads.append(heads)
            self._votes.append(sp.csr_array(sp.coo_array((ones, (asked[chosen, 2], case)), shape=shape)))

    def shares(self, heads: Nodes, ways: Nodes) -> Rows:
        """Each document's share of the votes on each question, float32 (B, N); a head's own triples have no vote.

        Args:
            heads: int64 (B,).
            ways: int64 (B,), relations 0 to R - 1 and ways back R to 2R - 1.
        """
        shares = np.zeros((len(heads), len(self._vectors)), np.float32)
        for way in np.unique(ways).tolist():
            rows, cases = np.flatnonzero(ways == way), self._heads[way]
            if not len(cases):
                continue
            alike = np.maximum(self._vectors[heads[rows]] @ self._vectors[cases].T, 0) ** POWER
            place = np.minimum(np.searchsorted(cases, heads[rows]), len(cases) - 1)
            own = cases[place] == heads[rows]
            alike[own, place[own]] = 0
            found = (self._votes[way] @ alike.T).T
            shares[rows] = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
        return shares
