"""Fine-tuning an encoder so that the first numbers of its vectors are a vector too.

Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022: one loss for each of a few dimensions, summed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from training.encoders.config import MatryoshkaConfig
from training.encoders.matryoshka_judge import Figures, validate
from training.encoders.pairs import Pairs
from training.encoders.task import Examples, FineTuneTask, PairBatch, Tuning

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class JudgedPairs(Examples):
    """Pairs, judged at every dimension.

    Args:
        pairs: training and held-out ones.
        config: dimensions, and how many held-out pairs are ranked.
    """

    def __init__(self, pairs: Pairs, config: MatryoshkaConfig) -> None:
        self._pairs, self._config = pairs, config

    def steps(self, batch_pairs: int, world: int) -> int:
        """See ``Examples``."""
        return self._pairs.steps(batch_pairs, world)

    def batches(self, epoch: int, batch_pairs: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """See ``Examples``."""
        return self._pairs.batches(epoch, batch_pairs, seed, rank, world)

    def judge(self, model: "SentenceTransformer") -> Figures:
        """nDCG@10 of held-out pairs at each dimension; the score is their mean."""
        figures = validate(model, self._pairs, self._config, next(model.parameters()).device)
        return {"score": round(sum(figures.values()) / len(figures), 5), **figures}


def matryoshka_task(
    model: "SentenceTransformer", pairs: Pairs, config: MatryoshkaConfig, rank: int = 0, world: int = 1
) -> FineTuneTask:
    """Matryoshka fine-tuning of a model on pairs; arguments as of ``FineTuneTask``."""
    tuning = Tuning(
        section="matryoshka",
        dims=config.dims,
        batch_pairs=config.batch_pairs,
        temperature=config.temperature,
        frozen_layers=config.frozen_layers,
        max_length=config.max_length,
        seed=config.seed,
    )
    return FineTuneTask(model, JudgedPairs(pairs, config), tuning, rank, world)
