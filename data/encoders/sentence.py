"""A sentence-transformers model on batches by token area, in fp32 or bf16, on every core."""

import copy
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from data.batching import padding_share, token_batches
from data.encoders import Encoded, EncoderConfig, Vectors
from data.encoders.models import fingerprint, open_model
from data.encoders.precision import Check, check_bf16, decide

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_Batch = TypeVar("_Batch")
_Made = TypeVar("_Made")

LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
# A text is cut before the tokenizer sees it: tokens longer than this on average do not occur, documents of 10 MB do.
CHARACTERS_PER_TOKEN = 100


class SentenceEncoder:
    """Tokenises a window of texts once, sorts it by length and runs batches of it side by side.

    On a CPU each batch has one core to itself: cores that share every matrix product wait for each other after each,
    and on a machine with other work that costs most of the speed.

    Args:
        model: the model, in fp32.
        batch_tokens: largest padded area of a batch.
        threads: batches at once on a CPU.
    """

    def __init__(self, model: "SentenceTransformer", batch_tokens: int, threads: int) -> None:
        self.precision = "fp32"
        self.cosine_to_fp32 = 1.0
        self.fingerprint = ""
        self.dim = int(model.get_embedding_dimension() or 0)
        self.device: torch.device = model.device
        self.batch_tokens = batch_tokens
        self._tokenizer = model.tokenizer
        self._max_length = int(model.max_seq_length or 512)
        self._transformer, *self._heads = list(model)
        self._pool = single_core_threads(threads if self.device.type == "cpu" else 1)

    @classmethod
    def load(cls, config: EncoderConfig, batch_tokens: int, threads: int | None) -> Self:
        """Open the model, choose the precision by the measured check, and be ready.

        Raises:
            InputError: if there is no such model or device, or bf16 is asked for and fails its check.
        """
        import torch

        available = "cuda" if torch.cuda.is_available() else "cpu"
        model = open_model(config.model, available if config.device == "auto" else config.device, config.max_length)
        exact = cls(model, batch_tokens, threads or torch.get_num_threads())
        short = exact if config.precision == "fp32" else exact._in_bf16()

        def measure() -> Check:
            return exact._pool.submit(check_bf16, exact.encode_here, short.encode_here, exact.device.type).result()

        precision, cosine = decide(config.precision, exact.device.type, measure)
        chosen = short if precision == "bf16" else exact
        chosen.precision, chosen.cosine_to_fp32 = precision, cosine
        chosen.fingerprint = fingerprint(model, precision)
        return chosen

    def _in_bf16(self) -> Self:
        """The same encoder with its transformer in bf16; pooling and what follows stay in fp32."""
        import torch

        short = copy.copy(self)
        short._transformer = copy.deepcopy(self._transformer).to(torch.bfloat16)
        return short

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with the tokens and the padding they took.

        Texts longer than the model reads are cut. Lone surrogates, which no tokenizer takes, are read as U+FFFD.
        """
        tokens = self.tokenise(texts)
        lengths = np.fromiter(map(len, tokens), dtype=np.int32, count=len(tokens))
        batches = token_batches(lengths, self.batch_tokens)
        vectors = np.empty((len(tokens), self.dim), dtype=np.float32)
        parts = self._pool.map(self.forward, ([tokens[i] for i in batch] for batch in batches))
        for batch, part in zip(batches, parts, strict=True):
            vectors[batch] = part
        return Encoded(vectors, lengths, padding_share(lengths, batches))

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each text, special tokens included, cut to the model's length, not padded."""
        if not texts:
            return []
        longest = self._max_length * CHARACTERS_PER_TOKEN
        readable = [LONE_SURROGATE.sub("\ufffd", text[:longest]) for text in texts]
        tokens: list[list[int]] = self._tokenizer(
            readable,
            truncation=True,
            max_length=self._max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return tokens

    def encode_here(self, texts: Sequence[str]) -> Vectors:
        """Vectors of a few texts, as one batch in the calling thread."""
        return self.forward(self.tokenise(texts))

    def forward(self, tokens: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of one batch, computed in the calling thread."""
        import torch

        with torch.inference_mode():
            features = self.transform(tokens)
            for head in self._heads:
                features = head(features)
            unit = torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)
            vectors: Vectors = unit.cpu().numpy()
        return vectors

    def transform(self, tokens: Sequence[Sequence[int]]) -> dict[str, Any]:
        """The transformer's output for one batch, before pooling, on its device: what the heads read.

        ``token_embeddings`` is float32 of shape (texts, longest, width), ``attention_mask`` tells tokens from padding.
        """
        import torch

        features: dict[str, Any] = {
            name: torch.from_numpy(array).to(self.device) for name, array in self._padded(tokens).items()
        }
        features = self._transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        return features

    def side_by_side(self, work: Callable[[_Batch], _Made], batches: Iterable[_Batch]) -> Iterator[_Made]:
        """Work on batches in the encoder's threads, in order."""
        return self._pool.map(work, batches)

    @property
    def special_tokens(self) -> frozenset[int]:
        """Tokens that stand for no word of the text; an unknown word's token is not one of them."""
        return frozenset(self._tokenizer.all_special_ids) - {self._tokenizer.unk_token_id}

    def _padded(self, tokens: Sequence[Sequence[int]]) -> dict[str, npt.NDArray[np.int64]]:
        """What the transformer reads: token numbers and attention mask, int64 of shape (texts, longest)."""
        longest = max(map(len, tokens))
        numbers = np.full((len(tokens), longest), self._tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros((len(tokens), longest), dtype=np.int64)
        for row, text in enumerate(tokens):
            place = slice(longest - len(text), None) if self._tokenizer.padding_side == "left" else slice(len(text))
            numbers[row, place] = text
            mask[row, place] = 1
        return {"input_ids": numbers, "attention_mask": mask}


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """Threads that each compute on one core; the number of cores the rest of the process uses stays as it was.

    Torch keeps that number for each thread, and a default that a thread takes over when it first asks for it and when
    it first computes. So every thread does both here, before the default is put back.
    """
    import torch

    before = torch.get_num_threads()
    everyone = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()
        torch.ones(2**17).exp()
        everyone.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="encoder")
    for _ in range(count):
        pool.submit(begin)
    everyone.wait()
    torch.set_num_threads(before)
    return pool
