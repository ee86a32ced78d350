"""Learning the attention of an ensemble of encoders: plain PyTorch over vectors that the members have made already."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.encoders.ensemble.fusion import Attention, Concatenation, Fusion, shares
from data.encoders.protocol import Vectors
from data.errors import InputError
from evaluation.ranking import evaluate_ranking
from training.encoders.config import FuseConfig

logger = logging.getLogger("catena")

Members = Sequence[Vectors]
Pairs = npt.NDArray[np.int64]
_DEEP = 100  # documents of a ranking that is judged
_SMALLEST = 4  # questions: two to learn from, one to choose by, one to judge by


@dataclass(frozen=True)
class Examples:
    """What belongs together, as the members see it.

    Args:
        questions: of each member, float32 (Q, d_i).
        documents: of each member, float32 (D, d_i).
        pairs: int64 (P, 2): a question and a document that answers it, or is linked to it.
        same: whether the questions are the documents themselves: one is then not its own answer.
    """

    questions: Members
    documents: Members
    pairs: Pairs
    same: bool = False


@dataclass(frozen=True)
class Learned:
    """A fusion, and what it reached.

    Args:
        fusion: with the weights of the best epoch.
        epoch: which one that was; 0 is the fusion as it began.
        history: validation nDCG@10 after each epoch, the beginning first.
        test: questions held out from learning and choosing.
    """

    fusion: Attention
    epoch: int
    history: list[float]
    test: npt.NDArray[np.int64]


class AttentionModel(nn.Module):
    """The attention as a module. It begins as the concatenation: equal weights for all texts, vectors side by side."""

    def __init__(self, dims: Sequence[int], weights: npt.NDArray[np.float64]) -> None:
        super().__init__()
        self.scorers = nn.ParameterList(torch.zeros(d) for d in dims)
        self.biases = nn.Parameter(torch.log(torch.from_numpy(weights).float()) / 2)

    def forward(self, members: Sequence[Tensor]) -> Tensor:
        """Unit vectors (n, dim) from one (n, d_i) of each member."""
        scores = torch.stack([v @ s for v, s in zip(members, self.scorers, strict=True)], dim=1) + self.biases
        weights = scores.softmax(dim=1)
        return functional.normalize(torch.cat([weights[:, i, None] * v for i, v in enumerate(members)], dim=1), dim=1)

    def fusion(self) -> Attention:
        """The same arithmetic without torch."""
        return Attention(
            tuple(scorer.detach().numpy().copy() for scorer in self.scorers), self.biases.detach().numpy().copy()
        )


def learn(examples: Examples, config: FuseConfig, weights: Sequence[float] | None = None) -> Learned:
    """Learn the attention contrastively and keep the epoch that is best on the validation questions.

    Softmax over the documents of a batch at a temperature (InfoNCE: van den Oord et al., arXiv 1807.03748); a document
    that answers another question of the batch too is no negative of that one.

    Args:
        examples: vectors of the members, and the pairs.
        config: optimiser, splits, seed.
        weights: of the members at the beginning; equal where None.

    Raises:
        InputError: if there are too few questions to hold some out.
    """
    learned, chosen, held = split(examples.pairs, config)
    generator = torch.Generator().manual_seed(config.seed)
    dims = [vectors.shape[1] for vectors in examples.documents]
    model = AttentionModel(dims, shares(weights, len(dims)))
    questions = [torch.from_numpy(vectors) for vectors in examples.questions]
    documents = [torch.from_numpy(vectors) for vectors in examples.documents]
    pairs = torch.from_numpy(examples.pairs[np.isin(examples.pairs[:, 0], learned)])
    answers = {(int(q), int(d)) for q, d in examples.pairs}
    if examples.same:
        answers |= {(document, document) for document in range(len(documents[0]))}
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    history = [_ndcg(model.fusion(), examples, chosen)]
    best, best_epoch = copy.deepcopy(model.state_dict()), 0
    while len(history) <= config.epochs and len(history) - 1 - best_epoch < config.patience:
        for batch in pairs[torch.randperm(len(pairs), generator=generator)].split(  # type: ignore[no-untyped-call]
            config.batch_pairs
        ):
            asked, found = batch.T
            logits = model([v[asked] for v in questions]) @ model([v[found] for v in documents]).T / config.temperature
            loss = functional.cross_entropy(logits.masked_fill(_accidental(batch, answers), -torch.inf), _own(batch))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        history.append(_ndcg(model.fusion(), examples, chosen))
        if history[-1] > history[best_epoch]:
            best, best_epoch = copy.deepcopy(model.state_dict()), len(history) - 1
    model.load_state_dict(best)
    logger.info("fuse: epoch %d of %d is best: nDCG@10 %.4f", best_epoch, len(history) - 1, history[best_epoch])
    return Learned(model.fusion(), best_epoch, [round(figure, 5) for figure in history], held)


def split(pairs: Pairs, config: FuseConfig) -> tuple[Pairs, Pairs, Pairs]:
    """Questions to learn from, to choose the best epoch by, and to judge by: int64, drawn with the seed.

    Raises:
        InputError: if there are fewer than four.
    """
    questions = np.random.default_rng(config.seed).permutation(np.unique(pairs[:, 0]))
    if len(questions) < _SMALLEST:
        raise InputError(
            f"fuse: {len(questions)} questions with answers are too few to learn an attention from",
            f"At least {_SMALLEST} are needed, some hundreds are better; fusion: concatenation needs none.",
        )
    valid = max(1, round(config.valid_share * len(questions)))
    test = max(1, round(config.test_share * len(questions)))
    return questions[valid + test :], questions[:valid], questions[valid : valid + test]


def judge(examples: Examples, questions: npt.NDArray[np.int64], fusions: dict[str, Fusion]) -> dict[str, float]:
    """nDCG@10 of each member alone and of each fusion, on some of the questions.

    Returns:
        ``member 1``, ``member 2``, … and the names of the fusions, with their figure.
    """
    alone = {
        f"member {n + 1}": _ndcg(Concatenation(np.ones(1), (q.shape[1],)), _of_one(examples, n), questions)
        for n, q in enumerate(examples.questions)
    }
    return alone | {name: _ndcg(fusion, examples, questions) for name, fusion in fusions.items()}


def _of_one(examples: Examples, n: int) -> Examples:
    return Examples([examples.questions[n]], [examples.documents[n]], examples.pairs, examples.same)


def _ndcg(fusion: Fusion, examples: Examples, questions: npt.NDArray[np.int64]) -> float:
    """Mean nDCG@10 of a fusion: every document is looked through."""
    similar = fusion([v[questions] for v in examples.questions]) @ fusion(examples.documents).T
    if examples.same:
        similar[np.arange(len(questions)), questions] = -np.inf
    depth = min(_DEEP, similar.shape[1])
    nearest = np.argpartition(-similar, depth - 1, axis=1)[:, :depth]
    run = {
        str(q): {str(d): float(row[d]) for d in columns}
        for q, row, columns in zip(questions, similar, nearest, strict=True)
    }
    qrels: dict[str, dict[str, int]] = {str(q): {} for q in questions}
    for q, d in examples.pairs[np.isin(examples.pairs[:, 0], questions)]:
        qrels[str(q)][str(d)] = 1
    return evaluate_ranking(run, qrels).means["ndcg@10"]


def _accidental(batch: Tensor, answers: set[tuple[int, int]]) -> Tensor:
    """Which documents of a batch, beside its own, answer a question: bool (B, B)."""
    hits = [[(q, d) in answers for d in batch[:, 1].tolist()] for q in batch[:, 0].tolist()]
    return torch.tensor(hits) & ~torch.eye(len(batch), dtype=torch.bool)


def _own(batch: Tensor) -> Tensor:
    return torch.arange(len(batch))
