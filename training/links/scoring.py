"""A trained link model, ready to score: rows of the whole catalogue for evaluation, single pairs for discovery.

Shapes: N documents, S sources, P pairs, W width of a state.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from data.files import whole_or_absent
from data.graph.graph import GraphArtifact, load_graph
from training.links.features import STATES, PairFeatures, turned
from training.links.nodes import load_model
from training.links.scorer import PairScorer
from training.links.shortlist import Shortlists
from training.links.states import NODE_VECTORS, states_of
from training.typed.relations import RelationWeights, name_relations

RELATIONS = "relations.safetensors"
FAR = np.float32(-1000.0)  # below any logit: where documents stand that are on no shortlist
_SOURCES_AT_ONCE = 256


class LinkScorer:
    """Scores pairs of documents of one graph with one trained scorer.

    Args:
        scorer: of pairs.
        graph: documents, vectors, words, and the links that may be seen.
        states: float32 (N, W) of the documents; None for a scorer that does not look at them.
        relation_names: of the links.
        head: names relations; None where there is but one.
    """

    def __init__(
        self,
        scorer: PairScorer,
        graph: GraphArtifact,
        states: np.ndarray | None,
        head: RelationWeights | None = None,
    ) -> None:
        self.scorer, self._states, self._head = scorer, states, head
        self.relation_names = list(graph.relation_names) or ["related"]
        self._near = states if states is not None else graph.vectors
        self.features = PairFeatures(graph.seen_graph, graph.vectors, graph.words, states)
        self._shortlists = Shortlists(graph.seen_graph, graph.vectors, graph.words, states, scorer.shape.shortlist)

    @classmethod
    def load(cls, train: Path, graph: Path, name: str = "model") -> "LinkScorer":
        """A scorer of a train artifact over the links of the graph artifact that it was trained on.

        Args:
            train: folder of the train stage.
            graph: folder of the graph stage.
            name: ``model``, ``mlp`` or ``no_states``.
        """
        return cls.open(train, load_graph(graph), name, np.load(train / NODE_VECTORS, mmap_mode="r"))

    @classmethod
    def open(
        cls, train: Path, graph: GraphArtifact, name: str = "model", states: np.ndarray | None = None
    ) -> "LinkScorer":
        """The same over an opened graph, which may have more documents than the model was trained on.

        Args:
            train: folder of the train stage.
            graph: opened.
            name: as of ``load``.
            states: of its documents; None computes them.
        """
        scorer = PairScorer.load(train / f"{name}.scorer.safetensors")
        if not (any(feature in STATES for feature in scorer.shape.features) or name == "model"):
            states = None
        elif states is None:
            states = states_of(load_model(train / "model.safetensors"), graph)
        return cls(scorer, graph, states, load_relations(train / RELATIONS))

    @property
    def node_vectors(self) -> np.ndarray:
        """float32 (N, W): the state of each document, of unit length."""
        if self._states is None:
            raise ValueError("a scorer of features alone has no states")
        return self._states

    def score(self, sources: np.ndarray) -> np.ndarray:
        """Scores of each source with every document: int64 (S,) in, float32 (S, N) out.

        Logits for the source's shortlist; below all of them, by the cosine of the states, the rest.
        """
        scores = np.empty((len(sources), self.features.graph.num_nodes), np.float32)
        for start in range(0, len(sources), _SOURCES_AT_ONCE):
            block = sources[start : start + _SOURCES_AT_ONCE]
            part = scores[start : start + len(block)]
            np.matmul(self._near[block], self._near.T, out=part)
            part += FAR
            row, column = self._shortlists.of(block)
            part[row, column] = self.score_pairs(block[row], column)
        return scores

    def score_pairs(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Logits of single pairs: int64 (P,) twice in, float32 (P,) out."""
        return self.scorer.logits(self.features.pairs(sources, targets))

    def score_both(self, sources: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits of pairs in either direction, float32 (P,) each, for little more than one of them costs."""
        features = self.features.pairs(sources, targets)
        return self.scorer.logits(features), self.scorer.logits(turned(features))

    def relations(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Most likely relation of each directed pair, int64 (P,), as places in ``relation_names``."""
        if self._head is None or self._states is None:
            return np.zeros(len(sources), np.int64)
        return name_relations(self._head, self._states, sources, targets)


def save_relations(weights: RelationWeights, path: Path) -> None:
    """Write the weights that relations are named by; whole or absent."""
    with whole_or_absent(path) as unfinished:
        save_file({"weight": weights.weight, "bias": weights.bias}, unfinished)


def load_relations(path: Path) -> RelationWeights | None:
    """Read what ``save_relations`` wrote; None where there is no such file, for a corpus of one relation."""
    return RelationWeights(**load_file(path)) if path.exists() else None
