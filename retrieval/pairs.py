"""Pairs of a question and a document, read together by a transformer of one output, in batches by padded area."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.batching import Positions, token_batches
from data.encoders.transformer.cores import single_core_threads
from data.encoders.transformer.precision import TEXTS
from data.encoders.transformer.tokens import without_limits
from data.errors import EncoderUnavailable, TextRefused
from retrieval.packed import LEAST_AGREEMENT, Forward, order_agreement, packed_form

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("catena")

Pair = tuple[str, str, int | None]
"""Question, document, and most tokens that are read of the document; as many as fit where None."""

Scored = tuple[float, bool, int]
"""Logit, whether the document was cut, tokens read."""

Numbers = dict[str, list[int]]
Logits = npt.NDArray[np.float32]


class PairScorer:
    """Scores pairs; of a pair that is too long, the document is cut and never the question.

    Args:
        model: a transformers model with one output, in evaluation mode.
        tokenizer: its fast tokenizer.
        longest: tokens that it reads of a pair.
        batch_tokens: largest padded area of a batch.
        name: of the model, for messages.
        threads: batches at once on a CPU, each on one core; with 1 a batch has all cores, as few pairs want it.

    Attributes:
        precision: ``fp32``, or ``bf16`` after ``take_bf16``.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - any of transformers
        tokenizer: Any,  # noqa: ANN401 - likewise
        longest: int,
        batch_tokens: int,
        name: str,
        threads: int = 1,
    ) -> None:
        self.name, self.longest = name, longest
        self._model, self._tokenizer = model, tokenizer
        self._inputs = {"input_ids", *tokenizer.model_input_names}
        self._whole = without_limits(tokenizer)
        self._batch_tokens = batch_tokens
        self._packed: Forward | None = None
        side_by_side = threads > 1 and model.device.type == "cpu"
        self._pool = single_core_threads(threads) if side_by_side else None

    @property
    def precision(self) -> str:
        """What the transformer computes in."""
        return "fp32" if self._packed is None else "bf16"

    def fits(self, question: str) -> bool:
        """Whether a question leaves half of what the model reads to the document."""
        return len(self._whole.encode(question, add_special_tokens=False).ids) <= self.longest // 2

    def score(self, pairs: Sequence[Pair]) -> list[Scored]:
        """Scores of pairs, in order.

        Raises:
            TextRefused: if a question is too long.
            EncoderUnavailable: if the model gives a pair no finite number.
        """
        encoded = self.encode(pairs)
        logits = self.logits([numbers for numbers, _ in encoded])
        if not np.isfinite(logits).all():
            wrong = int(np.count_nonzero(~np.isfinite(logits)))
            raise EncoderUnavailable(
                f"the cross-encoder {self.name} gives {wrong} of {len(pairs)} pairs a score that is no finite number",
                "Train it again, or name another cross-encoder.",
            )
        return [
            (float(logit), cut, len(numbers["input_ids"]))
            for logit, (numbers, cut) in zip(logits, encoded, strict=True)
        ]

    def encode(self, pairs: Sequence[Pair]) -> list[tuple[Numbers, bool]]:
        """The numbers of pairs, and whether the document, which gets what the question leaves, was cut.

        Raises:
            TextRefused: if a question is too long.
        """
        whole = self._whole.encode_batch([(query, text) for query, text, _ in pairs])
        return [self._fitted(encoding, query, most) for encoding, (query, _, most) in zip(whole, pairs, strict=True)]

    def padded(self, batch: Sequence[Numbers]) -> "dict[str, torch.Tensor]":
        """The numbers of n pairs as the model reads them, int64 (n, longest), on the CPU."""
        return dict(self._tokenizer.pad(list(batch), return_tensors="pt"))

    def logits(self, encoded: Sequence[Numbers]) -> Logits:
        """The model's output for pairs, whatever it is: float32 (n,), in order."""
        lengths = np.array([len(numbers["input_ids"]) for numbers in encoded], np.int64)
        batches = token_batches(lengths, self._batch_tokens, padded=self._packed is None)

        def forward(batch: Positions) -> Logits:
            return self._forward([encoded[place] for place in batch])

        parts = map(forward, batches) if self._pool is None or len(batches) < 2 else self._pool.map(forward, batches)
        found = np.empty(len(encoded), np.float32)
        for batch, part in zip(batches, parts, strict=True):
            found[batch] = part
        return found

    def sample_logits(self, questions: Sequence[str]) -> Logits:
        """Logits of the fixed texts for each question, question after question."""
        pairs = [(question, text, None) for question in questions for text in TEXTS]
        return self.logits([numbers for numbers, _ in self.encode(pairs)])

    def take_fp32(self) -> None:
        """Have the model itself compute from now on."""
        self._packed = None

    def take_bf16(self) -> None:
        """Compute in bf16 without padding from now on, with the weights of now, where it is faster and as good here."""
        self.take_fp32()
        packed = packed_form(self._model)
        if packed is None:
            return
        asked = [text for text in TEXTS[:6] if self.fits(text)]
        fp32 = self.sample_logits(asked)
        self._packed = packed
        agreement = order_agreement(fp32, self.sample_logits(asked))
        if agreement < LEAST_AGREEMENT:
            self.take_fp32()
        told = f"bf16 leaves {agreement:.2%} of sample scores in the order of fp32"
        logger.info("ranker: %s in %s on cpu (%s)", self.name, self.precision, told)

    def _fitted(self, encoding: Any, query: str, most: int | None) -> tuple[Numbers, bool]:  # noqa: ANN401 - untyped
        part = np.array([-1 if one is None else one for one in encoding.sequence_ids])
        question, document = int((part == 0).sum()), int((part == 1).sum())
        if question > self.longest // 2:
            problem = f"the question has {question} tokens; the ranker reads {self.longest} of both"
            raise TextRefused(problem, f"Shorten it to {self.longest // 2}.", query)
        room = self.longest - (len(part) - document)
        kept = min(document, room, most or room)
        stays = (part != 1) | (np.cumsum(part == 1) <= kept)
        numbers = {
            "input_ids": np.array(encoding.ids)[stays].tolist(),
            "token_type_ids": np.array(encoding.type_ids)[stays].tolist(),
        }
        return {name: numbers[name] for name in numbers if name in self._inputs}, kept < document

    def _forward(self, batch: Sequence[Numbers]) -> Logits:
        import torch

        with torch.inference_mode():
            features = {name: values.to(self._model.device) for name, values in self.padded(batch).items()}
            output = self._model(**features).logits if self._packed is None else self._packed(features)
            logits: Logits = output.squeeze(-1).float().cpu().numpy()
        return logits
