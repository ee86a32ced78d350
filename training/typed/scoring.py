"""A trained model of typed links, ready to score: rows of all entities for evaluation, pairs for discovery.

Shapes: N entities, B questions, P pairs, R relations, d floats of an entity.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.graph.graph import GraphArtifact, load_graph
from evaluation.triples import TripleScorer
from training.typed.cases import Cases
from training.typed.model import TypedModel, load_model
from training.typed.stack import Features, Stack

WEIGHTS, STACK = "model.safetensors", "stack.json"  # files of the train artifact

Nodes = npt.NDArray[np.int64]


def rows_of(model: TypedModel, entities_Nd: Tensor) -> TripleScorer:
    """Scores of all entities as answers to (head, relation, ?).

    Args:
        model: its relations and decoder are used.
        entities_Nd: vectors of all entities.
    """

    @torch.inference_mode()
    def score(heads: Nodes, relations: Nodes) -> npt.NDArray[np.float32]:
        query_Bd = model.decoder.query(entities_Nd[heads], model.relation[relations])
        return np.asarray(model.decoder.all_pairs(query_Bd, entities_Nd).numpy(), np.float32)

    return score


class TypedScorer:
    """Scores triples and pairs of documents with one trained model.

    Attributes:
        decoder_alone: scores of all documents as answers, of the decoder.
        relation_names: name of each relation.

    Args:
        model: on the CPU.
        vectors: float32 (N, D) text vectors.
        stack: makes what weighs cases and texts in, when answers are first asked for; None where nothing does.
    """

    def __init__(
        self,
        model: TypedModel,
        vectors: npt.NDArray[np.float32],
        stack: "Callable[[TypedScorer], Stack] | None" = None,
    ) -> None:
        self.model = model.eval()
        self.stack = stack
        self.relation_names = list(model.shape.relations)
        self._entities_Nd = model.all_entities(vectors)
        self.decoder_alone = rows_of(model, self._entities_Nd)

    @classmethod
    def load(cls, train: Path, graph: Path) -> "TypedScorer":
        """The model of a train artifact over the documents of a graph artifact."""
        opened, weights = load_graph(graph), train / STACK
        stack = (lambda scorer: Stack.load(weights, scorer.features(opened))) if weights.exists() else None
        return cls(load_model(train / WEIGHTS), opened.vectors, stack)

    @cached_property
    def answers(self) -> TripleScorer:
        """Scores of all documents as answers: the decoder's, with cases and texts weighed in where there is a stack."""
        return self.decoder_alone if self.stack is None else self.stack(self).answers

    def features(self, graph: GraphArtifact) -> Features:
        """What a stack weighs: the decoder's answers, votes of the training triples, texts."""
        most, relations = self.model.shape.config.cases, len(self.relation_names)
        return Features(
            self.decoder_alone, Cases(graph.triples("train"), relations, graph.vectors, most), graph.vectors
        )

    @property
    def node_vectors(self) -> npt.NDArray[np.float32]:
        """float32 (N, d): the entities' vectors."""
        return np.asarray(self._entities_Nd.numpy(), np.float32)

    def score_pairs(self, sources: Nodes, targets: Nodes, batch: int = 65_536) -> npt.NDArray[np.float32]:
        """Score of the likeliest relation from source to target, float32 (P,); memory is bounded by ``batch``."""
        return self._of_relations(sources, targets, batch)[0]

    def relations(self, sources: Nodes, targets: Nodes, batch: int = 65_536) -> Nodes:
        """Likeliest relation of each directed pair, int64 (P,), as places in ``relation_names``."""
        return self._of_relations(sources, targets, batch)[1]

    @torch.inference_mode()
    def _of_relations(self, sources: Nodes, targets: Nodes, batch: int) -> tuple[npt.NDArray[np.float32], Nodes]:
        """Best score over the relations and its place: the mean of asking for the tail and asking for the head."""
        there_Rk, back_Rk = self.model.relation.chunk(2)
        scores, places = np.empty(len(sources), np.float32), np.empty(len(sources), np.int64)
        for start in range(0, len(sources), batch):
            part = slice(start, start + batch)
            source_Pd, target_Pd = self._entities_Nd[sources[part]], self._entities_Nd[targets[part]]
            there_PR = self.model.decoder.all_relations(source_Pd, target_Pd, there_Rk)
            back_PR = self.model.decoder.all_relations(target_Pd, source_Pd, back_Rk)
            best, place = ((there_PR + back_PR) / 2).max(dim=1)
            scores[part], places[part] = best.numpy(), place.numpy()
        return scores, places
