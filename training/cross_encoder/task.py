"""Training of a cross-encoder on lists of documents, one that answers and near ones; plain PyTorch.

Shapes: Q questions of a batch, L documents of each at most, P pairs, V held-out lists, D documents of the longest one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.encoders.config import BATCH_TOKENS
from retrieval.pairs import Pair, PairScorer
from training.cross_encoder.config import RankerConfig
from training.cross_encoder.judge import Logits, best_ndcg, ndcg
from training.cross_encoder.lists import Lists, RankedList
from training.cross_encoder.model import PairLogits, Tokens, listwise_loss
from training.replicas import rows_of_all
from training.task import Figures, Task


@dataclass(frozen=True)
class ListBatch:
    """A batch as the model reads it.

    Attributes:
        pieces: its P pairs as tokens, a piece of like length at a time.
        place: int64 (Q, L), where each document of each question stands in the pieces; 0 where there is none.
        there: bool (Q, L), which documents there are; the first one answers.
        prior: float32 (Q, L), what is added to their logits for the ranks that the first stage gave them.
    """

    pieces: list[Tokens]
    place: Tensor
    there: Tensor
    prior: Tensor

    def to(self, device: torch.device) -> "ListBatch":
        """The same on a device."""
        pieces = [{name: values.to(device) for name, values in piece.items()} for piece in self.pieces]
        return ListBatch(pieces, self.place.to(device), self.there.to(device), self.prior.to(device))


class RankerTask(Task[ListBatch]):
    """Training of a model in place, judged by nDCG@10 of held-out lists that it puts in order.

    Args:
        ranker: a transformers model with one output, in fp32.
        tokenizer: its own.
        lists: training and held-out ones.
        config: batches, lengths, seed.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.

    Attributes:
        best_VD: logits of the held-out lists by the best epoch so far; None before the first.
    """

    model: PairLogits
    unit = "questions"

    def __init__(
        self,
        ranker: nn.Module,
        tokenizer: Any,  # noqa: ANN401 - of transformers
        lists: Lists,
        config: RankerConfig,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        threads = 1 if config.spread.use_gpu else torch.get_num_threads()
        self.model = PairLogits(ranker)
        self.model.freeze(config.frozen_layers)
        self._scorer = PairScorer(ranker, tokenizer, config.max_length, BATCH_TOKENS, "the model", threads)
        self._lists, self._config, self._rank, self._world = lists, config, rank, world
        self.steps = len(lists.train) // (config.batch_questions * world)
        self.per_step = config.batch_questions
        self.best_VD: Logits | None = None
        self._best_score = -np.inf

    def batches(self, epoch: int) -> Iterator[ListBatch]:
        """Questions of this worker's share; what does not fill a batch on all is left for another epoch."""
        seed, size = self._config.optimizer.seed, self._config.batch_questions
        order = np.random.default_rng((seed, epoch)).permutation(len(self._lists.train))
        for step in range(self.steps):
            start = (step * self._world + self._rank) * size
            rng = np.random.default_rng((seed, epoch, step, self._rank))
            yield self._batch([self._lists.train[n] for n in order[start : start + size]], rng)

    def loss(self, model: nn.Module, batch: ListBatch) -> Tensor:
        """The listwise loss."""
        logits_P: Tensor = model(batch.pieces)
        return listwise_loss(logits_P[batch.place].float() + batch.prior, batch.there)

    def judge(self, model: nn.Module) -> Figures:
        """nDCG@10 of the held-out lists: as found, by the logits, and by logits and ranks with the best weight.

        The last one is the score: what is served is that.
        """
        self._scorer.take_bf16()
        logits_VD = rows_of_all(len(self._lists.valid), self._logits)
        self._scorer.take_fp32()
        figures = best_ndcg(self._lists.valid, logits_VD)
        if figures["reranked"] > self._best_score:
            self._best_score, self.best_VD = figures["reranked"], logits_VD
        first = ndcg(self._lists.valid, [-np.arange(one.found, dtype=np.float64) for one in self._lists.valid])
        return {
            "score": figures["reranked"],
            "valid_ndcg@10": round(figures["reranked"], 5),
            "valid_alone_ndcg@10": round(figures["alone"], 5),
            "valid_first_ndcg@10": round(float(first.mean()), 5),
        }

    def groups(self) -> list[dict[str, Any]]:
        """The transformer, and its head."""
        return self.model.groups(self._config.head_rate)

    def state(self) -> dict[str, Tensor]:
        """Logits of the best epoch."""
        return {} if self.best_VD is None else {"best": torch.from_numpy(self.best_VD)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        if "best" in state:
            self.best_VD = state["best"].numpy()
            self._best_score = best_ndcg(self._lists.valid, self.best_VD)["reranked"]

    def _batch(self, lists: list[RankedList], rng: np.random.Generator) -> ListBatch:
        config, pairs = self._config, list[Pair]()
        place_QL = np.zeros((len(lists), config.list_documents), np.int64)
        there_QL, prior_QL = np.zeros(place_QL.shape, bool), np.zeros(place_QL.shape, np.float32)
        for row, one in enumerate(lists):
            others = rng.permutation(one.others)[: config.list_documents - 1]
            chosen = np.array([rng.choice(one.answers), *others], np.int64)
            place_QL[row, : len(chosen)] = np.arange(len(pairs), len(pairs) + len(chosen))
            there_QL[row, : len(chosen)] = True
            if one.ranked:
                prior_QL[row, : len(chosen)] = -config.rank_prior * np.log(one.ranks(chosen))
            pairs += [(one.question, self._lists.text(int(place)), None) for place in one.places[chosen]]
        encoded = [numbers for numbers, _ in self._scorer.encode(pairs)]
        order = np.argsort([-len(numbers["input_ids"]) for numbers in encoded], kind="stable")
        stands = np.empty(len(order), np.int64)
        stands[order] = np.arange(len(order))
        size = config.piece_pairs
        pieces = [
            self._scorer.padded([encoded[n] for n in order[start : start + size]])
            for start in range(0, len(order), size)
        ]
        numbers = (torch.from_numpy(array) for array in (stands[place_QL], there_QL, prior_QL))
        return ListBatch(pieces, *numbers)

    def _logits(self, start: int, end: int) -> Logits:
        """Logits of some held-out lists, float32 (end - start, D); 0 where a list is shorter than the longest."""
        width = max((one.found for one in self._lists.valid), default=0)
        logits_VD = np.zeros((end - start, width), np.float32)
        for row, one in enumerate(self._lists.valid[start:end]):
            pairs: list[Pair] = [
                (one.question, self._lists.text(int(place)), None) for place in one.places[: one.found]
            ]
            logits_VD[row, : one.found] = self._scorer.logits([numbers for numbers, _ in self._scorer.encode(pairs)])
        return logits_VD
