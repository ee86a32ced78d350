"""A trained link model, ready to score: rows of the whole catalogue for evaluation, single pairs for discovery."""

import copy
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from data.graph.graph import Graph, load_graph
from training.links.features import PairFeatures
from training.links.model import LinkModel, encode_all_nodes, load_model


class LinkScorer:
    """Scores pairs of documents of one graph with one trained model.

    Args:
        model: link model or feature-only baseline; copied to the CPU, where the features are.
        graph: training links of n nodes.
        vectors: float32 (n, dim) text vectors.
        words: float32 (n, terms), unit TF-IDF rows.
    """

    def __init__(self, model: LinkModel, graph: Graph, vectors: np.ndarray, words: sp.csr_matrix | None = None) -> None:
        self.model = copy.deepcopy(model).cpu().eval()
        self.features = PairFeatures(graph, vectors, words)
        self.relation_names = list(model.shape.relations)
        self._views: torch.Tensor | None = None
        if self.model.nodes is not None:
            indptr, indices = torch.from_numpy(graph.indptr), torch.from_numpy(graph.indices).long()
            self._views = encode_all_nodes(self.model.nodes, torch.from_numpy(np.array(vectors)), indptr, indices)

    @classmethod
    def load(cls, train: Path, graph: Path, name: str = "model") -> "LinkScorer":
        """A model of a train artifact over the training links of a graph artifact: ``model``, ``mlp``, ``no_views``."""
        opened = load_graph(graph)
        return cls(load_model(train / f"{name}.safetensors"), opened.training_graph, opened.vectors, opened.words)

    @property
    def node_vectors(self) -> np.ndarray:
        """float32 (n, K·V): the unit views of each node side by side; inner products add up the views' similarities."""
        if self._views is None:
            raise ValueError("the feature-only baseline has no node vectors")
        return self._views.flatten(1).numpy()

    @torch.inference_mode()
    def score(self, sources: np.ndarray) -> np.ndarray:
        """Logits of each source with every node: int64 (S,) in, float32 (S, n) out."""
        scores = np.empty((len(sources), self.features.graph.num_nodes), np.float32)
        # The pair scorer's hidden layer is some 32 floats a pair, and there are as many features as a few more.
        step = max(1, self.features.block_rows() // 32)
        for start in range(0, len(sources), step):
            block = sources[start : start + step]
            views = self._views[block] if self._views is not None else None
            features = torch.from_numpy(self.features.rows(block))
            scores[start : start + step] = self.model.score(views, self._views, features).numpy()
        return scores

    @torch.inference_mode()
    def score_pairs(self, sources: np.ndarray, targets: np.ndarray, batch: int = 65_536) -> np.ndarray:
        """Logits of single pairs: int64 (P,) twice in, float32 (P,) out; memory is bounded by ``batch``."""
        scores = np.empty(len(sources), np.float32)
        for start in range(0, len(sources), batch):
            s, t = sources[start : start + batch], targets[start : start + batch]
            source, target = (self._views[s], self._views[t]) if self._views is not None else (None, None)
            features = torch.from_numpy(self.features.pairs(s, t))
            scores[start : start + batch] = self.model.score_pairs(source, target, features).numpy()
        return scores

    @torch.inference_mode()
    def relations(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Most likely relation of each directed pair, int64 (P,), as places in ``relation_names``."""
        if self.model.relation is None or self._views is None:
            return np.zeros(len(sources), np.int64)
        return self.model.relate(self._views[sources], self._views[targets]).argmax(1).numpy()
