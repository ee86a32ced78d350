"""Training batches: links, candidates beside them, pair features, and the subgraph that feeds the model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from data.graph.graph import Graph
from training.links.config import TrainConfig
from training.links.features import FEATURES, PairFeatures
from training.links.sampler import NeighborSampler

_COSINE = FEATURES.index("cosine")
_ADAMIC_ADAR = FEATURES.index("adamic_adar")
_SECOND_STRATUM = 15  # the second stratum is this many times as wide as the first


Reach = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Batch:
    """One step's input; letters as in ``training.links.model``."""

    text_ND: Tensor
    edges_2E: Tensor
    reach: Reach
    sources_S: Tensor
    candidates_C: Tensor
    positive_S: Tensor
    features_FSC: Tensor
    log_weight_SC: Tensor
    relation_S: Tensor
    forward_S: Tensor  # whether the link is taken in its own direction

    def to(self, device: torch.device | None) -> "Batch":
        """The batch on another device; itself where None."""
        if device is None or device.type == "cpu":
            return self
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return Batch(**moved)


class LinkBatches:
    """Endless source of training batches for one worker.

    The candidates of a batch are shared by all its sources: their true targets, and near misses sought out for each
    source (linked to its neighbours, or near in text). A near miss counts fully for the source it was sought for. For
    every other source a candidate is a random draw that represents its share of the catalogue.

    Args:
        graph: training links.
        vectors: float32 (n, dim) text vectors.
        sources, targets, relation: int64 (m,), the training links.
        config: sizes and seed.
        rank, world: this worker and how many there are; each shuffles alike and takes its own slice.
        with_graph: whether the model reads a subgraph; the feature-only baseline does not.
        words: float32 (n, terms), unit TF-IDF rows.
    """

    def __init__(
        self, graph: Graph, vectors: np.ndarray, sources: np.ndarray, targets: np.ndarray, relation: np.ndarray,
        config: TrainConfig, rank: int = 0, world: int = 1, with_graph: bool = True,
        words: sp.csr_matrix | None = None,
    ) -> None:  # fmt: skip
        self.features = PairFeatures(graph, vectors, words)
        self.graph, self.vectors, self.config = graph, vectors, config
        self.sources, self.targets, self.relation = sources, targets, relation
        self.rank, self.world, self.with_graph = rank, world, with_graph

    @property
    def steps(self) -> int:
        """Number of batches of an epoch: the same on every worker, or data-parallel training would wait for ever."""
        whole = -(-len(self.sources) // (self.config.batch_links * self.world))
        return min(self.config.steps_per_epoch, max(1, whole))

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch; the same number gives the same batches again."""
        shared = np.random.default_rng([self.config.seed, number])
        own = np.random.default_rng([self.config.seed, number, self.rank])
        sampler = NeighborSampler(self.graph, self.config.fan_out, own)
        size = self.config.batch_links
        needed = self.steps * size * self.world
        order = np.resize(
            shared.permutation(len(self.sources)), needed
        )  # repeats the first links to fill the last batch
        for links in order.reshape(self.steps, self.world, size)[:, self.rank]:
            yield self._batch(links, sampler, own)

    def _batch(self, links: np.ndarray, sampler: NeighborSampler, rng: np.random.Generator) -> Batch:
        forward = rng.random(len(links)) < 0.5
        sources = np.where(forward, self.sources[links], self.targets[links])
        targets = np.where(forward, self.targets[links], self.sources[links])
        rows = self.features.rows(sources, without=targets)
        known = self.graph.adjacency[sources].toarray() > 0
        known[np.arange(len(sources)), sources] = True
        near, near_weight, threshold, looks = self._near_misses(rows, known, rng)
        candidates, column = np.unique(np.concatenate([targets, near.reshape(-1)]), return_inverse=True)
        positive = column[: len(targets)]
        own = column[len(targets) :].reshape(near.shape)
        log_weight = self._rest_weights(looks[:, candidates], threshold, near.shape[1])
        np.put_along_axis(log_weight, own, near_weight, axis=1)
        log_weight[known[:, candidates]] = -np.inf
        log_weight[np.arange(len(sources)), positive] = 0.0
        nodes, seeds, edges, reach = self._subgraph(sources, targets, candidates, sampler)
        local = np.searchsorted(seeds, np.concatenate([sources, candidates]))
        return Batch(
            text_ND=torch.from_numpy(self.vectors[nodes]),
            edges_2E=edges,
            reach=reach,
            sources_S=torch.from_numpy(local[: len(sources)]),
            candidates_C=torch.from_numpy(local[len(sources) :]),
            positive_S=torch.from_numpy(positive),
            features_FSC=torch.from_numpy(rows[:, :, candidates]),
            log_weight_SC=torch.from_numpy(log_weight),
            relation_S=torch.from_numpy(self.relation[links]),
            forward_S=torch.from_numpy(forward),
        )

    def _near_misses(
        self, rows_FSN: np.ndarray, known_SN: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For each source some of the nodes that look most like a link and are none.

        They come from two strata: the very nearest, all of them; and a draw from the next ``_SECOND_STRATUM`` times as
        many, each representing those not drawn. Training on the nearest alone would teach that a middling
        similarity marks a link.

        Returns:
            Nodes, int64 (S, h); their log weights, float32 (S, h); the look of the last of the strata, (S, 1); the
            looks, (S, n).
        """
        looks_SN = rows_FSN[_ADAMIC_ADAR] + 0.3 * rows_FSN[_COSINE]
        looks_SN[known_SN] = -np.inf
        half = self.config.hard_negatives // 2
        reach = min(half * (1 + _SECOND_STRATUM), self.graph.num_nodes - 1)
        if half == 0 or reach <= 2 * half:
            return (
                np.zeros((len(looks_SN), 0), np.int64),
                np.zeros((len(looks_SN), 0), np.float32),
                np.full((len(looks_SN), 1), np.inf),
                looks_SN,
            )
        top = np.argpartition(-looks_SN, reach - 1, axis=1)[:, :reach]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(looks_SN, top, 1), axis=1), axis=1)
        draw = half + rng.permuted(np.tile(np.arange(reach - half), (len(top), 1)), axis=1)[:, :half]
        weight = np.repeat(np.log([[1.0, (reach - half) / half]]).astype(np.float32), half, axis=1)
        near = np.concatenate([top[:, :half], np.take_along_axis(top, draw, 1)], axis=1)
        last = np.take_along_axis(looks_SN, top[:, -1:], 1)
        return near, np.broadcast_to(weight, near.shape), last, looks_SN

    def _rest_weights(self, looks_SC: np.ndarray, threshold_S1: np.ndarray, own: int) -> np.ndarray:
        """Log weights of candidates that were sought out for other sources: draws from beyond both strata."""
        beyond_SC = looks_SC < threshold_S1
        share_S1 = self.graph.num_nodes / np.maximum(beyond_SC.sum(axis=1, keepdims=True), 1)
        return np.where(beyond_SC, np.log(share_S1), -np.inf).astype(np.float32)

    def _subgraph(
        self, sources: np.ndarray, targets: np.ndarray, candidates: np.ndarray, sampler: NeighborSampler
    ) -> tuple[np.ndarray, np.ndarray, Tensor, Reach]:
        """Sampled nodes; their leading part that are seeds, ascending; edges less the batch's links; reach."""
        seeds = np.union1d(sources, candidates)
        if not self.with_graph:
            return seeds[:0], seeds, torch.zeros((2, 0), dtype=torch.int64), ()
        found = sampler.sample(seeds, without=np.stack([sources, targets]))
        nodes, edges = np.cumsum(found.num_sampled_nodes), np.cumsum([0, *found.num_sampled_edges])
        reach = tuple(zip(nodes.tolist(), edges.tolist(), strict=True))
        return found.node.numpy(), seeds, torch.stack([found.row, found.col]), reach
