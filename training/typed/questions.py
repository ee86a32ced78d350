"""Training batches of typed links: each triple asked both ways, and tails that all questions of a batch share.

Shapes: T triples of a batch, B = 2T questions, C candidates, E entities of the batch, D floats of a text vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data.matrices import distinct
from evaluation.triples import Answers, both_ways
from training.typed.config import TypedConfig

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Questions:
    """One step's input.

    Shapes:
        entities_E: int64, numbers of all entities of the batch. text_ED: their text vectors.
        head_B, candidates_C: int64, places in ``entities_E``.
        relation_B: int64, from 0 to 2R - 1.
        target_B: int64, place of the true tail among the candidates.
        log_weight_C: how many entities a candidate stands for: minus the log of the chance that it is one.
        known_2K: int64, questions and candidates that are other known answers.
    """

    entities_E: Tensor
    text_ED: Tensor
    head_B: Tensor
    candidates_C: Tensor
    relation_B: Tensor
    target_B: Tensor
    log_weight_C: Tensor
    known_2K: Tensor

    def to(self, device: torch.device | None) -> "Questions":
        """The batch on another device."""
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Questions(**moved)


class QuestionBatches:
    """Batches of training triples for one worker.

    Candidates are the batch's own entities, which are as common as in the training triples, and ``negatives`` drawn
    evenly; each counts for as many entities as its chance says (sampled softmax, Jean et al., ACL 2015), so that the
    loss is that of all entities in expectation.

    Args:
        triples: int64 (K, 3), the training triples.
        relations: R.
        vectors: float32 (N, D) text vectors; may be memory-mapped.
        config: batch size and negatives.
        seed: of shuffling and drawing.
        rank: this worker.
        world: how many there are; each shuffles alike and takes its own slice.
    """

    def __init__(
        self,
        triples: Integers,
        relations: int,
        vectors: npt.NDArray[np.float32],
        config: TypedConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.triples, self.relations, self.vectors, self.config = triples, relations, vectors, config
        self.seed, self.rank, self.world = seed, rank, world
        asked = both_ways(triples, relations)
        self.known = Answers(asked, relations)
        self.share = np.bincount(asked[:, 2], minlength=len(vectors)) / max(1, len(asked))
        self._column = np.full(len(vectors), -1, np.int64)  # scratch: place of an entity among the candidates

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same on every worker."""
        return max(1, -(-len(self.triples) // (self.config.batch_triples * self.world)))

    def epoch(self, number: int) -> Iterator[Questions]:
        """The batches of one epoch; the same number gives the same batches again."""
        shared = np.random.default_rng([self.seed, number])
        own = np.random.default_rng([self.seed, number, self.rank])
        size = min(self.config.batch_triples, len(self.triples))
        order = np.resize(shared.permutation(len(self.triples)), self.steps * self.world * size)  # repeats the first
        for chosen in order.reshape(self.steps, self.world, size)[:, self.rank]:
            yield self.batch(self.triples[chosen], own)

    def batch(self, triples: Integers, rng: np.random.Generator) -> Questions:
        """Questions about some triples (T, 3), with candidates drawn by ``rng``."""
        heads, relation, tails = both_ways(triples, self.relations).T
        candidates, log_weight = self._candidates(tails, rng)
        entities, place = np.unique(np.concatenate([candidates, heads]), return_inverse=True)
        self._column[candidates] = np.arange(len(candidates))
        target = self._column[tails]
        question, answers = self.known.of(heads, relation)
        column = self._column[answers]
        self._column[candidates] = -1
        other = (column >= 0) & (column != target[question])
        return Questions(
            entities_E=torch.from_numpy(entities),
            text_ED=torch.from_numpy(self.vectors[entities]),
            head_B=torch.from_numpy(place[len(candidates) :]),
            candidates_C=torch.from_numpy(place[: len(candidates)]),
            relation_B=torch.from_numpy(relation.copy()),
            target_B=torch.from_numpy(target),
            log_weight_C=torch.from_numpy(log_weight),
            known_2K=torch.from_numpy(np.stack([question[other], column[other]])),
        )

    def _candidates(self, tails: Integers, rng: np.random.Generator) -> tuple[Integers, npt.NDArray[np.float32]]:
        """Candidates (C,), ascending, and their log weights; all entities where ``negatives`` is None."""
        count = len(self.vectors)
        drawn = self.config.negatives
        if drawn is None or drawn >= count:
            return np.arange(count), np.zeros(count, np.float32)
        candidates = distinct(np.concatenate([tails, rng.integers(0, count, drawn)]))
        expected = len(tails) * self.share[candidates] + drawn / count
        return candidates, -np.log(-np.expm1(-expected)).astype(np.float32)
