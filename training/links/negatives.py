"""What the links of a batch are compared with: shared candidates, and which of them are no negatives.

Only training links are looked at. A mask made from every known link would leave out the validation and test links
among the pairs that are pushed apart, and so give them away (docs/decisions/008-negatives-and-held-out-links.md).

Shapes: S sources, C candidates, M masked places, N documents.
"""

from dataclasses import dataclass

import numpy as np

from data.graph.graph import Graph
from training.links.config import NegativesConfig


@dataclass(frozen=True)
class Candidates:
    """Documents that all sources of a batch are compared with.

    Attributes:
        documents: int64 (C,).
        log_chance: float32 (C,), log of how likely each was to be drawn, but for a constant.
        own_log_chance: float32 (S,), the same for each source's own target.
        masked: int64 (M, 2), (source, candidate) places that are no negatives, ascending by source.
    """

    documents: np.ndarray
    log_chance: np.ndarray
    own_log_chance: np.ndarray
    masked: np.ndarray


class Negatives:
    """Draws candidates for batches of one training graph.

    Args:
        graph: of the training links alone.
        config: kind and number.
        sources: int64 (L,), of the training links.
        targets: int64 (L,).
        relation: int64 (L,), of the training links.
    """

    def __init__(
        self, graph: Graph, config: NegativesConfig, sources: np.ndarray, targets: np.ndarray, relation: np.ndarray
    ) -> None:
        self.graph, self.config = graph, config
        self._log_degree = np.log(graph.degrees + 1.0).astype(np.float32)
        self._ends, self._relation = np.concatenate([targets, sources]), np.concatenate([relation, relation])
        self.mined: np.ndarray | None = None  # int32 (N, K), near misses of each document, filled up with -1

    def draw(
        self, sources: np.ndarray, targets: np.ndarray, relation: np.ndarray, pool: np.ndarray, rng: np.random.Generator
    ) -> Candidates:
        """Candidates of one batch.

        Args:
            sources: int64 (S,).
            targets: int64 (S,), their own targets.
            relation: int64 (S,), of the links.
            pool: int64 (C,), targets of the batches of all workers, which kind ``in_batch`` compares with.
            rng: where every draw comes from.
        """
        kind, drawn, n = self.config.kind, self.config.drawn, self.graph.num_nodes
        if kind == "in_batch":
            documents = pool
        elif kind == "uniform":
            documents = rng.integers(0, n, drawn)
        elif kind == "degree":
            documents = self._ends[rng.integers(0, len(self._ends), drawn)]
        else:
            allowed = np.flatnonzero(np.isin(self._relation, relation))
            documents = self._ends[rng.choice(allowed, drawn)]
        log_chance = np.zeros(len(documents), np.float32) if kind == "uniform" else self._log_degree[documents]
        own = np.zeros(len(targets), np.float32) if kind == "uniform" else self._log_degree[targets]
        if self.config.hard and self.mined is not None:
            asked = rng.choice(sources, min(len(sources), self.config.hard))
            near = self.mined[asked, rng.integers(0, self.mined.shape[1], len(asked))]
            near = near[near >= 0].astype(np.int64)
            documents = np.concatenate([documents, near])
            log_chance = np.concatenate([log_chance, self._log_degree[near]])
        return Candidates(documents, log_chance, own, self._masked(sources, targets, documents))

    def _masked(self, sources: np.ndarray, targets: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """Places of candidates that are the source itself, its own target or another of its neighbours."""
        near = self.graph.adjacency[sources]
        row = np.repeat(np.arange(len(sources)), np.diff(near.indptr))
        every = np.arange(len(sources))
        row, document = np.concatenate([row, every, every]), np.concatenate([near.indices, sources, targets])
        order = np.argsort(documents, kind="stable")
        times_N = np.bincount(documents, minlength=self.graph.num_nodes)
        times = times_N[document]
        first = (np.cumsum(times_N) - times_N)[document]  # where each document's places in `order` begin
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        places = np.column_stack([np.repeat(row, times), order[np.repeat(first, times) + within]])
        return np.ascontiguousarray(places[np.argsort(places[:, 0], kind="stable")])
