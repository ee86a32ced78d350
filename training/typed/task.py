"""Typed links as the frame of all trainings sees them."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import InputError
from data.graph.graph import GraphArtifact
from evaluation.triples import TripleQuestions, TripleScorer, triple_questions, triple_ranks
from training.task import Figures, Task
from training.typed.config import TypedConfig
from training.typed.losses import typed_loss
from training.typed.model import Shape, TypedModel
from training.typed.questions import QuestionBatches, Questions
from training.typed.scoring import rows_of


class TypedTask(Task[Questions]):
    """Trains a ``TypedModel`` on the training triples; judged by filtered MRR on the validation triples.

    Args:
        graph: output of the graph stage.
        config: of the model.
        seed: of weights, shuffling and drawing.
        rank: this worker.
        world: how many there are.

    Raises:
        InputError: if there is nothing to train on, or nothing to judge by.
    """

    unit = "triples"

    def __init__(self, graph: GraphArtifact, config: TypedConfig, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        train = graph.triples("train")
        check_triples(graph, config)
        self.config, self.vectors = config, graph.vectors
        texts = graph.vectors if config.entities != "table" else graph.vectors[:, :0]
        self._batches = QuestionBatches(train, len(graph.relation_names), texts, config, seed, rank, world)
        self.steps = self._batches.steps
        self.per_step = min(config.batch_triples, len(train))
        self._valid = _sample(triple_questions(graph, "valid"), config.valid_triples, seed)
        self.model = model_for(graph, config, seed)

    def batches(self, epoch: int) -> Iterator[Questions]:
        """See ``Task``."""
        return self._batches.epoch(epoch)

    def loss(self, model: nn.Module, batch: Questions) -> Tensor:
        """See ``Task``."""
        return typed_loss(model(batch), batch, self.config, self.model.decoder.distance)

    def judge(self, model: nn.Module) -> Figures:
        """Filtered MRR of the validation triples, both ways."""
        assert isinstance(model, TypedModel)
        ranks, _ = triple_ranks(score_with(model, self.vectors), self._valid, batch_size=512)
        mrr = float((1.0 / ranks).mean())
        return {"score": mrr, "valid_mrr": round(mrr, 5)}


def model_for(graph: GraphArtifact, config: TypedConfig, seed: int) -> TypedModel:
    """An untrained model for a graph; its weights follow from the seed."""
    seen = np.zeros(len(graph.ids), bool)
    seen[graph.triples("train")[:, [0, 2]]] = True
    shape = Shape(len(graph.ids), graph.vectors.shape[1], tuple(graph.relation_names), config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TypedModel(shape, torch.from_numpy(seen))


def check_triples(graph: GraphArtifact, config: TypedConfig) -> None:
    """Check that there are triples to learn from and to judge by, and vectors where they are asked for.

    Raises:
        InputError: naming what is missing.
    """
    for part in ("train", "valid"):
        if not len(graph.triples(part)):
            raise InputError(
                f"no typed links for {part}", "Give the corpus more links, or hold out other shares in `graph`."
            )
    if config.entities != "table" and not graph.vectors.shape[1]:
        raise InputError(
            f"train.typed.entities: '{config.entities}' needs text vectors, and the corpus has none",
            "Set train.typed.entities to 'table'.",
        )


def score_with(model: TypedModel, vectors: np.ndarray) -> TripleScorer:
    """Scores of a model as it is now."""
    entities_Nd = model.all_entities(vectors)
    return rows_of(model, entities_Nd)


def _sample(questions: TripleQuestions, size: int, seed: int) -> TripleQuestions:
    if len(questions.triples) <= size:
        return questions
    chosen = np.random.default_rng(seed).choice(len(questions.triples), size, replace=False)
    return TripleQuestions(
        questions.triples[chosen], questions.known, questions.types, questions.degrees[chosen], questions.relations
    )
