"""The model's answers, cases and texts put together by a few weights, fitted on validation triples.

Shapes: Q validation questions, C candidates of each, F features of a candidate, N documents, B questions of a batch,
W = 2R relations and ways back.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evaluation.triples import TripleQuestions, TripleScorer, both_ways
from training.typed.cases import Cases

Nodes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float32]

FEATURES = ("model", "cases", "cosine")
STRONGEST, RANDOM = 100, 200  # candidates of a question: the best by each feature, and some drawn evenly
SCORES_AT_ONCE = 2**23  # of each feature: bounds the memory of a block of questions at about 200 MB
SHRINKAGE = 0.02  # pulls a relation's weights to those of all relations
STEPS, RATE = 150, 0.05


@dataclass(frozen=True)
class Features:
    """What the stack weighs for each document: log odds of the model and of the cases, and the cosine of the texts.

    Args:
        model: scorer of the trained model.
        cases: votes of training triples.
        vectors: float32 (N, D) text vectors of unit length or zero.
    """

    model: TripleScorer
    cases: Cases
    vectors: npt.NDArray[np.float32]

    def of(self, heads: Nodes, ways: Nodes) -> npt.NDArray[np.float32]:
        """float32 (F, B, N)."""
        scores = torch.from_numpy(self.model(heads, ways)).log_softmax(dim=1).numpy()
        shares = np.log(self.cases.shares(heads, ways) + np.float32(1 / len(self.vectors)))
        return np.stack([scores, shares, np.asarray(self.vectors[heads] @ self.vectors.T, np.float32)])


class Stack:
    """A weighted sum of features, with weights of each relation and way back.

    Args:
        features: what is weighed.
        weights: float32 (W, F).
    """

    def __init__(self, features: Features, weights: npt.NDArray[np.float32]) -> None:
        self.features, self.weights = features, weights

    def answers(self, heads: Nodes, ways: Nodes) -> Rows:
        """Scores of all documents as answers, float32 (B, N); a ``TripleScorer``."""
        scores = np.empty((len(heads), len(self.features.vectors)), np.float32)
        for part in _blocks(len(heads), len(self.features.vectors)):
            found, weights = self.features.of(heads[part], ways[part]), self.weights[ways[part]]
            np.einsum("fbn,bf->bn", found, weights, out=scores[part])
        return scores

    def save(self, path: Path) -> None:
        """Write the weights as JSON, which people can read."""
        path.write_text(json.dumps({"features": FEATURES, "weights": self.weights.round(5).tolist()}))

    @classmethod
    def load(cls, path: Path, features: Features) -> "Stack":
        """Read what ``save`` wrote."""
        return cls(features, np.asarray(json.loads(path.read_text())["weights"], np.float32))


def fit_stack(features: Features, questions: TripleQuestions, seed: int = 0) -> Stack:
    """Fit the weights so that true answers of the validation triples stand out.

    A softmax over each question's strongest candidates and some random ones; a relation's weights are those of all
    relations plus its own part, which is pulled to zero, so that a relation of few triples goes with the others.

    Args:
        features: of a model that was trained on the training triples alone.
        questions: the validation triples.
        seed: of the random candidates.
    """
    asked = both_ways(questions.triples, questions.relations)
    values, known = _candidates(features, questions, asked, np.random.default_rng(seed))
    chosen_FQC, known_QC = torch.from_numpy(values), torch.from_numpy(known)
    ways_Q = torch.from_numpy(asked[:, 1].copy())
    start = torch.tensor([1.0, 0.0, 0.0])
    shared_F = start.clone().requires_grad_()
    own_WF = torch.zeros((2 * questions.relations, len(FEATURES)), requires_grad=True)
    optimizer = torch.optim.Adam([shared_F, own_WF], lr=RATE)
    for _ in range(STEPS):
        logits_QC = torch.einsum("fqc,qf->qc", chosen_FQC, (shared_F + own_WF)[ways_Q])
        logits_QC = logits_QC.masked_fill(known_QC, -torch.inf)
        loss = -logits_QC.log_softmax(dim=1)[:, 0].mean() + SHRINKAGE * own_WF.square().sum() / len(own_WF)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    weights: Tensor = (shared_F + own_WF).detach()
    return Stack(features, weights.numpy())


def _candidates(
    features: Features, questions: TripleQuestions, asked: Nodes, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Features of each question's candidates, float32 (F, Q, C), the true answer first; which are other answers."""
    count = questions.types.shape[1]
    strongest, drawn = min(STRONGEST, count), min(RANDOM, count)
    width = 1 + len(FEATURES) * strongest + drawn
    chosen, known = np.empty((len(FEATURES), len(asked), width), np.float32), np.zeros((len(asked), width), bool)
    for part in _blocks(len(asked), count):
        heads, ways, answers = asked[part].T
        found = features.of(heads, ways)
        rows = np.arange(len(heads))[:, None]
        best = [np.argpartition(-feature, strongest - 1, axis=1)[:, :strongest] for feature in found]
        columns = np.concatenate([answers[:, None], *best, rng.integers(0, count, (len(heads), drawn))], axis=1)
        chosen[:, part] = found[:, rows, columns]
        linked = np.zeros((len(heads), count), bool)
        linked[questions.known.of(heads, ways)] = True
        known[part, 1:] = linked[rows, columns[:, 1:]]
    return chosen, known


def _blocks(questions: int, count: int) -> Iterator[slice]:
    """Slices of questions whose scores of ``count`` documents fit into memory together."""
    rows = max(1, SCORES_AT_ONCE // max(1, count))
    yield from (slice(start, min(start + rows, questions)) for start in range(0, questions, rows))
