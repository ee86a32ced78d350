"""Texts to vectors in batches of like length: tokenised in pieces, computed side by side, in the order of the texts."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from data.batching import Positions, padding_share, token_batches
from data.encoders.protocol import Encoded, Vectors
from data.encoders.transformer.cores import single_core_threads
from data.encoders.transformer.memory import Tokens, forward_within_memory
from data.encoders.transformer.models import Prompts
from data.encoders.transformer.tokens import Tokenised, Tokeniser
from data.errors import TextRefused

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
Made = TypeVar("Made")

GPU_TOKENIZERS = 8  # threads; each makes about 1,500 texts of 600 tokens a second
PIECE = 512  # texts tokenised at once: those of the next piece while batches of this one are computed
BATCHES_OF_A_CORE = 2  # at least, of texts that are a single piece: batches of unlike cost even out
SMALLEST_SHARE = 256  # tokens of a batch that is not divided for the sake of another core


def _tokenizers(device: str) -> int:
    """Threads that tokenise ahead: on a CPU they would take from the model, and a GPU reads what many cores make."""
    return 1 if device == "cpu" else min(GPU_TOKENIZERS, os.cpu_count() or 1)


class BatchModel(Protocol):
    """What computes a batch."""

    dim: int
    device: "torch.device"
    precision: str

    def unit(self, features: "dict[str, Any]") -> "torch.Tensor":
        """Vectors of unit length, float32 of shape (n, dim), where the features are."""
        ...

    def on_cpu(self) -> "BatchModel":
        """The same model on the CPU, in fp32."""
        ...


class TextBatches:
    """Tokenises texts in pieces of like length and has a model compute batches of them side by side.

    On a CPU each batch has one core to itself: cores that share every matrix product wait for each other after each,
    and on a machine with other work that costs most of the speed.

    Args:
        model: computes the batches.
        tokeniser: the model's tokenizer.
        prompts: what is put before texts.
        batch_tokens: largest padded area of a batch.
        threads: batches at once on a CPU.
    """

    def __init__(
        self, model: BatchModel, tokeniser: Tokeniser, prompts: Prompts, batch_tokens: int, threads: int
    ) -> None:
        self.model = model
        self.tokenise = tokeniser
        self.prompts = prompts
        self.batch_tokens = batch_tokens
        self._at_once = threads if model.device.type == "cpu" else 1
        self._pool = single_core_threads(self._at_once)
        self._ahead = ThreadPoolExecutor(_tokenizers(model.device.type), thread_name_prefix="tokenizer")

    def with_model(self, model: BatchModel) -> Self:
        """The same batches for another model with this one's tokenizer, on the same threads."""
        other = copy.copy(self)
        other.model = model
        return other

    def documents(self, texts: Sequence[str], refuse: bool = True) -> Encoded:
        """Vectors of documents with the tokens and the padding they took.

        Args:
            texts: the documents.
            refuse: whether the policy ``error`` holds for texts that are too long; they are cut where not.

        Raises:
            TextRefused: if a text is too long and the policy is ``error``, or the model's vectors are not finite.
        """
        return self._encode(texts, self.prompts.document, refuse)

    def questions(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions, behind the prompt for them, counted; one that is too long is always cut."""
        return self._encode(texts, self.prompts.query, refuse=False)

    def here(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, cut where they are too long, in one batch in the calling thread."""
        return self.forward(self.tokenise(texts, self.prompts.document).numbers)

    def in_worker(self, work: Callable[[], Made]) -> Made:
        """What ``work`` returns in one of the threads that compute batches."""
        return self._pool.submit(work).result()

    def _encode(self, texts: Sequence[str], prompt: str, refuse: bool) -> Encoded:
        lengths, dropped = np.zeros(len(texts), np.int32), np.zeros(len(texts), np.int32)
        vectors = np.empty((len(texts), self.model.dim), dtype=np.float32)
        plan: list[Positions] = []
        alone = len(texts) <= PIECE  # no other piece keeps the cores busy

        def arriving() -> Iterator[Tokens]:
            for positions, tokenised in self._pieces(texts, prompt):
                if refuse:
                    self.tokenise.refuse_cut(tokenised, positions, texts)
                lengths[positions] = [len(text) for text in tokenised.numbers]
                dropped[positions] = tokenised.dropped
                most = self._share(lengths[positions]) if alone else self.batch_tokens
                for batch in token_batches(lengths[positions], most):
                    plan.append(positions[batch])
                    yield [tokenised.numbers[i] for i in batch]

        retries = 0
        for number, (part, ran_out) in enumerate(self._compute(arriving(), self.tokenise.prompt_numbers(prompt))):
            self.check_finite(part, plan[number], texts)
            vectors[plan[number]] = part
            retries += ran_out
        return Encoded(vectors, lengths, padding_share(lengths, plan), dropped, retries)

    def _share(self, lengths: npt.NDArray[np.int32]) -> int:
        """Largest cost of a batch, such that texts of these lengths make batches for every core."""
        if self._at_once == 1:
            return self.batch_tokens
        share = -(-int(lengths.sum()) // (BATCHES_OF_A_CORE * self._at_once))
        return min(self.batch_tokens, max(share, SMALLEST_SHARE))

    def _pieces(self, texts: Sequence[str], prompt: str) -> Iterator[tuple[Positions, Tokenised]]:
        """Texts in pieces of like length, longest first, each tokenised while the one before it is computed."""
        order: Positions = np.argsort([-len(text) for text in texts], kind="stable").astype(np.int64)
        pieces = [order[start : start + PIECE] for start in range(0, len(order), PIECE)]
        read = [[texts[i] for i in piece] for piece in pieces]
        tokenise = partial(self.tokenise, prompt=prompt)
        ahead = map(tokenise, read) if len(pieces) < 2 else self._ahead.map(tokenise, read)
        yield from zip(pieces, ahead, strict=True)

    def _compute(self, batches: Iterable[Tokens], prompt: Sequence[int]) -> Iterator[tuple[Vectors, int]]:
        """Vectors of each batch, in order, and how many times memory ran out on the way."""
        device = self.model.device
        forward = partial(self.forward, prompt_tokens=len(prompt))
        last = None if device.type == "cpu" else partial(self.forward_on_cpu, prompt_tokens=len(prompt))
        again = partial(forward_within_memory, forward=forward, at_last=last)
        if device.type == "cuda":
            from data.encoders.transformer.gpu import batches_on_gpu

            features = partial(self.features, prompt_tokens=len(prompt))
            yield from batches_on_gpu(batches, device, features, self.model.unit, again)
            return
        yield from self.side_by_side(again, batches)

    def side_by_side(self, work: Callable[[Batch], Made], batches: Iterable[Batch]) -> Iterator[Made]:
        """What ``work`` makes of each batch, in order: on a CPU a batch on each core, on a GPU one after the other."""
        running = [self._pool.submit(work, batch) for batch in batches]
        try:
            yield from (batch.result() for batch in running)
        finally:
            for batch in running:  # those behind one that failed
                batch.cancel()

    def forward(self, tokens: Tokens, prompt_tokens: int = 0) -> Vectors:
        """Vectors of one batch, computed in the calling thread."""
        import torch

        with torch.inference_mode():
            here = self.features(tokens, prompt_tokens)
            there = {name: value.to(self.model.device) for name, value in here.items()}
            vectors: Vectors = self.model.unit(there).cpu().numpy()
        return vectors

    def forward_on_cpu(self, tokens: Tokens, prompt_tokens: int = 0) -> Vectors:
        """As ``forward``, by a copy of the model on the CPU."""
        return self.with_model(self.model.on_cpu()).forward(tokens, prompt_tokens)

    def features(self, tokens: Tokens, prompt_tokens: int = 0) -> "dict[str, torch.Tensor]":
        """What the model reads: token numbers and attention mask, int64 of shape (texts, longest), on the CPU."""
        import torch

        longest = max(map(len, tokens))
        numbers = np.full((len(tokens), longest), self.tokenise.padding, dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, text in enumerate(tokens):
            place = slice(longest - len(text), None) if self.tokenise.pads_left else slice(len(text))
            numbers[row, place] = text
            mask[row, place] = 1
        features = {"input_ids": torch.from_numpy(numbers), "attention_mask": torch.from_numpy(mask)}
        return features | ({"prompt_length": torch.tensor([prompt_tokens])} if prompt_tokens else {})

    def check_finite(self, vectors: Vectors, batch: Positions, texts: Sequence[str]) -> None:
        """Refuse what cannot be compared.

        Args:
            vectors: a row for each text of a batch, (n, any).
            batch: places of its texts among ``texts``.
            texts: all that is encoded.

        Raises:
            TextRefused: if a row holds NaN or an infinity; names its text.
        """
        bad = batch[~np.isfinite(vectors).all(axis=1)]
        if len(bad):
            raise TextRefused(
                f"encoder: in {self.model.precision} the model gives values that are not finite for {len(bad)} of a "
                f"batch of {len(batch)} texts: {', '.join(map(str, sorted(bad)[:10]))}; text {bad[0]} begins "
                f"{texts[int(bad[0])][:60]!r}",
                "Try encoder.precision: fp32. If that gives the same, leave the text out, or correct the model.",
                texts[int(bad[0])],
            )


class BatchedEncoder:
    """What every encoder that computes batches does with texts; what computes a batch differs.

    Args:
        batches: of texts, with the model that computes them.
    """

    def __init__(self, batches: TextBatches) -> None:
        self.batches = batches
        self.dim, self.precision = batches.model.dim, batches.model.precision

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.batches.documents(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions: as ``encode``, behind the prompt for them; one that is too long is always cut."""
        return self.batches.questions(texts).vectors

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions, as ``encode_queries``, with the tokens and the padding they took."""
        return self.batches.questions(texts)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of documents with the tokens and the padding they took.

        Raises:
            TextRefused: if a text is too long and the policy is ``error``, or the model's vectors are not finite.
        """
        return self.batches.documents(texts)
