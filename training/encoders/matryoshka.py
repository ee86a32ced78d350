"""Fine-tuning an encoder so that the first numbers of its vectors are a vector too; plain PyTorch, readable in order.

Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022: one loss for each of a few dimensions, summed.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from data.errors import InputError
from training.encoders.config import MatryoshkaConfig
from training.encoders.matryoshka_judge import Figures, tokens, validate
from training.encoders.pairs import Pairs
from training.task import Task

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def matryoshka_loss(
    anchors_BW: Tensor, positives_BW: Tensor, masked_BB: Tensor, dims: Sequence[int], temperature: float
) -> Tensor:
    """Sum over dimensions of the in-batch contrastive loss of the vectors cut to that dimension, both ways.

    For each dimension d, vectors are cut to their first d numbers and brought to unit length again; the softmax of
    cosines over ``temperature`` is to name each anchor's positive among the batch's, and each positive's anchor
    (van den Oord et al., 2018; Radford et al., 2021).

    Args:
        anchors_BW: vectors of B anchors.
        positives_BW: vectors of what belongs to each.
        masked_BB: bool, true where column j is no negative of row i, because it belongs to it as well; its diagonal,
            the pairs themselves, is false.
        dims: dimensions, each at most W.
        temperature: above 0.
    """
    same_B = torch.arange(len(anchors_BW), device=anchors_BW.device)
    loss = anchors_BW.new_zeros(())
    for dim in dims:
        anchors_BD = nn.functional.normalize(anchors_BW[:, :dim], dim=1)
        positives_BD = nn.functional.normalize(positives_BW[:, :dim], dim=1)
        logits_BB = (anchors_BD @ positives_BD.T / temperature).masked_fill(masked_BB, -math.inf)
        both = [nn.functional.cross_entropy(logits, same_B) for logits in (logits_BB, logits_BB.T)]
        loss = loss + sum(both) / 2
    return loss


class PairEncoder(nn.Module):
    """Both sides of a batch in one forward pass, as data-parallel training wants it.

    Args:
        model: a sentence-transformers model.
    """

    def __init__(self, model: "SentenceTransformer") -> None:
        super().__init__()
        self.model = model

    def forward(self, anchors: dict[str, Tensor], positives: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vectors of anchors and positives, each float32 of shape (B, W)."""
        return self.model(anchors)["sentence_embedding"], self.model(positives)["sentence_embedding"]


def freeze_lowest(model: "SentenceTransformer", layers: int) -> None:
    """Leave word embeddings and the lowest ``layers`` layers of a transformer as they are.

    Raises:
        InputError: if it has fewer layers.
    """
    stacks = [module for module in model[0].modules() if isinstance(module, nn.ModuleList)]
    stack = max(stacks, key=len, default=nn.ModuleList())
    if layers > len(stack):
        raise InputError(
            f"matryoshka.frozen_layers: {layers}, and the model has {len(stack)}", f"Give at most {len(stack)}."
        )
    if layers:
        for weights in model[0].parameters():
            weights.requires_grad_(False)
        for layer in list(stack)[layers:]:
            layer.requires_grad_(True)


@dataclass(frozen=True)
class TokenBatch:
    """B pairs as the model reads them, and which positives are no negatives of an anchor: bool (B, B)."""

    anchors: dict[str, Tensor]
    positives: dict[str, Tensor]
    masked_BB: Tensor

    def to(self, device: torch.device) -> "TokenBatch":
        """The same on a device."""
        anchors, positives = ({n: t.to(device) for n, t in side.items()} for side in (self.anchors, self.positives))
        return TokenBatch(anchors, positives, self.masked_BB.to(device))


class MatryoshkaTask(Task[TokenBatch]):
    """Fine-tuning of a model in place; it may end with the weights that it came with.

    Args:
        model: a sentence-transformers model, in fp32; its lowest layers are frozen and its texts cut as configured.
        pairs: training and held-out pairs.
        config: dimensions, loss, what is frozen.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.
    """

    unit, judges_first = "pairs", True

    def __init__(
        self, model: "SentenceTransformer", pairs: Pairs, config: MatryoshkaConfig, rank: int = 0, world: int = 1
    ) -> None:
        freeze_lowest(model, config.frozen_layers)
        model.max_seq_length = min(config.max_length, model.max_seq_length or config.max_length)
        self.model = PairEncoder(model)
        self.steps = pairs.steps(config.batch_pairs, world)
        self.per_step = config.batch_pairs
        self._pairs, self._config, self._rank, self._world = pairs, config, rank, world

    def batches(self, epoch: int) -> Iterator[TokenBatch]:
        """Pairs of this worker's share, as tokens."""
        config, model, cpu = self._config, self.model.model, torch.device("cpu")
        for batch in self._pairs.batches(epoch, config.batch_pairs, config.seed, self._rank, self._world):
            anchors, positives = (tokens(model, texts, cpu) for texts in (batch.anchors, batch.positives))
            yield TokenBatch(anchors, positives, torch.from_numpy(batch.masked_BB))

    def loss(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """The contrastive loss, summed over the dimensions."""
        anchors_BW, positives_BW = model(batch.anchors, batch.positives)
        return matryoshka_loss(anchors_BW, positives_BW, batch.masked_BB, self._config.dims, self._config.temperature)

    def judge(self, model: nn.Module) -> Figures:
        """nDCG@10 of held-out pairs at each dimension; the score is their mean."""
        encoder = cast(PairEncoder, model).model
        figures = validate(encoder, self._pairs, self._config, next(encoder.parameters()).device)
        return {"score": round(sum(figures.values()) / len(figures), 5), **figures}
