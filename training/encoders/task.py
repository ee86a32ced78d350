"""Fine-tuning of a text encoder on batches of texts that belong together; plain PyTorch, readable in order.

Shapes: T texts of a batch, B pairs, H hard negatives, C = B + H candidates, W width of a vector.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.encoders.contrast import contrastive_loss
from training.encoders.layers import falling_rates, freeze_lowest, layers_of
from training.recompute import Recomputing
from training.task import Figures, Task

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Tokens = dict[str, Tensor]
Numbers = npt.NDArray[np.int64]
Judge = Callable[["SentenceTransformer"], Figures]


@dataclass(frozen=True)
class Tuning:
    """How an encoder is fine-tuned, whatever on: the keys that ``matryoshka`` and ``finetune`` have in common.

    Attributes:
        section: of the run file, for messages.
        dims: dimensions whose losses are summed; the whole vector's where empty.
        batch_pairs: pairs in a worker's batch.
        temperature: cosines are divided by it.
        frozen_layers: lowest layers left as they are.
        max_length: tokens read of a text.
        seed: of the order of the pairs.
        cached_texts: texts whose activations are in memory at once (gradient caching); 0 keeps those of all.
        top_epochs: first epochs that train the uppermost layer alone.
        layer_decay: a layer's learning rate as a share of the one above it.
    """

    section: str
    dims: tuple[int, ...]
    batch_pairs: int
    temperature: float
    frozen_layers: int
    max_length: int
    seed: int
    cached_texts: int = 0
    top_epochs: int = 0
    layer_decay: float = 1.0


@dataclass(frozen=True)
class PairBatch:
    """B pairs, as places among T texts, and H hard negatives that all anchors share.

    Attributes:
        texts: T of them; a document that occurs more than once in the batch may be there once.
        anchors: int64 (B,).
        positives: int64 (B,).
        masked: bool (B, B + H), which candidates are no negatives of an anchor.
        negatives: int64 (H,).
    """

    texts: Sequence[str]
    anchors: Numbers
    positives: Numbers
    masked: npt.NDArray[np.bool_]
    negatives: Numbers = field(default_factory=lambda: np.empty(0, np.int64))


class Examples(Protocol):
    """What an encoder is fine-tuned on; to be derived from."""

    def steps(self, batch_pairs: int, world: int) -> int:
        """Batches of an epoch on each of ``world`` workers."""
        ...

    def batches(self, epoch: int, batch_pairs: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """A worker's batches of an epoch: equally many on all workers, and the same whenever they are asked for."""
        ...

    def judge(self, model: "SentenceTransformer") -> Figures:
        """Figures of a model on held-out pairs, among them ``score``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What else must survive a kill."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        return


class PairEncoder(Recomputing):
    """All texts of a batch in one forward pass, as data-parallel training wants it.

    With ``recompute`` only the vectors of a piece are kept, and in the backward pass each piece is computed again, with
    the same dropout, when the gradient of its vectors is known: gradient caching (Gao et al., "Scaling Deep Contrastive
    Learning Batch Size under Memory Limited Setup", 2021). Memory is that of one piece, for any number of pairs.

    Args:
        model: a sentence-transformers model.
        cached: whether pieces are computed twice instead of kept.
    """

    def __init__(self, model: "SentenceTransformer", cached: bool = False) -> None:
        super().__init__()
        self.model = model
        self.recompute = cached
        self._top_only = False
        if stack := layers_of(model):
            stack[-1].register_forward_pre_hook(self._cut, with_kwargs=True)

    def forward(self, pieces: list[Tokens], top_only: bool = False) -> Tensor:
        """Vectors of the texts of all pieces, in their order: float32 (T, W).

        Args:
            pieces: of the batch's texts.
            top_only: whether no gradient goes below the uppermost layer.
        """
        self._top_only = top_only
        return torch.cat([self.kept(self._encode, piece) for piece in pieces])

    def _encode(self, piece: Tokens) -> Tensor:
        vectors: Tensor = self.model(dict(piece))["sentence_embedding"]
        return vectors

    def _cut(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - a hook
        if not self._top_only:
            return None
        given = tuple(value.detach() if torch.is_tensor(value) else value for value in args)
        return given, {name: value.detach() if torch.is_tensor(value) else value for name, value in kwargs.items()}


@dataclass(frozen=True)
class TokenBatch:
    """A batch as the model reads it.

    Attributes:
        pieces: the tokens of its texts, a piece at a time.
        numbers: ``place`` (int64 (T,), where each text stands in the pieces), and ``anchors``, ``positives``,
            ``negatives`` and ``masked`` of ``PairBatch``.
        top_only: whether the uppermost layer alone is trained.
    """

    pieces: list[Tokens]
    numbers: Tokens
    top_only: bool

    def to(self, device: torch.device) -> "TokenBatch":
        """The same on a device."""
        *pieces, numbers = ({n: t.to(device) for n, t in each.items()} for each in (*self.pieces, self.numbers))
        return TokenBatch(pieces, numbers, self.top_only)


class FineTuneTask(Task[TokenBatch]):
    """Fine-tuning of a model in place; it may end with the weights that it came with.

    Args:
        model: a sentence-transformers model, in fp32; its lowest layers are frozen and its texts cut as asked.
        examples: training and held-out pairs.
        tuning: loss, batches, what is frozen.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.
    """

    model: PairEncoder
    unit, judges_first = "pairs", True

    def __init__(
        self, model: "SentenceTransformer", examples: Examples, tuning: Tuning, rank: int = 0, world: int = 1
    ) -> None:
        freeze_lowest(model, tuning.frozen_layers, tuning.section)
        model.max_seq_length = min(tuning.max_length, model.max_seq_length or tuning.max_length)
        self.model = PairEncoder(model, bool(tuning.cached_texts))
        self.steps = examples.steps(tuning.batch_pairs, world)
        self.per_step = tuning.batch_pairs
        self._dims = tuning.dims or (int(model.get_embedding_dimension() or 0),)
        self._examples, self._tuning, self._rank, self._world = examples, tuning, rank, world

    def batches(self, epoch: int) -> Iterator[TokenBatch]:
        """Pairs of this worker's share, as tokens."""
        tuning = self._tuning
        for batch in self._examples.batches(epoch, tuning.batch_pairs, tuning.seed, self._rank, self._world):
            yield self._tokens(batch, epoch < tuning.top_epochs)

    def _tokens(self, batch: PairBatch, top_only: bool) -> TokenBatch:
        encoder, cpu, cached = self.model.model, torch.device("cpu"), self._tuning.cached_texts
        order = np.arange(len(batch.texts))
        if cached:  # texts of like length in a piece: less padding
            order = np.argsort([-len(text) for text in batch.texts], kind="stable")
        size = cached or len(batch.anchors)
        pieces = [
            tokens(encoder, [batch.texts[i] for i in order[start : start + size]], cpu)
            for start in range(0, len(order), size)
        ]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        arrays = {name: getattr(batch, name) for name in ("anchors", "positives", "negatives", "masked")}
        numbers = {name: torch.from_numpy(array) for name, array in {"place": place, **arrays}.items()}
        return TokenBatch(pieces, numbers, top_only)

    def loss(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        """The contrastive loss, summed over the dimensions."""
        numbers = batch.numbers
        vectors_TW = model(batch.pieces, batch.top_only).float()[numbers["place"]]
        return contrastive_loss(
            vectors_TW[numbers["anchors"]],
            vectors_TW[numbers["positives"]],
            numbers["masked"],
            self._dims,
            self._tuning.temperature,
            vectors_TW[numbers["negatives"]],
        )

    def judge(self, model: nn.Module) -> Figures:
        """Figures of the examples' held-out pairs."""
        return self._examples.judge(cast(PairEncoder, model).model)

    def groups(self) -> list[dict[str, Any]]:
        """A group for each layer, where their rates differ."""
        if self._tuning.layer_decay == 1:
            return super().groups()
        return falling_rates(self.model.model, self._tuning.layer_decay)

    def state(self) -> dict[str, Tensor]:
        """What the examples keep."""
        return self._examples.state()

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        self._examples.load(state)


def tokens(model: "SentenceTransformer", texts: Sequence[str], device: torch.device) -> Tokens:
    """What the model reads of a batch of texts, on a device."""
    return {name: value.to(device) for name, value in model.preprocess(list(texts)).items() if torch.is_tensor(value)}
