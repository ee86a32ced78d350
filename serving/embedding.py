"""Vectors of texts as the service hands them out: checked, cut to the dimensions asked for, counted."""

import asyncio
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoded
from data.errors import EncoderUnavailable, InputError, TextRefused
from data.lexical import BM25, SparseVector
from data.matrices import unit_rows
from serving.admission import Admission, Priority
from serving.errors import ApiError
from serving.schemas.embeddings import Output

Kind = Literal["document", "query"]
TokenRows = tuple[npt.NDArray[np.float32], int]  # vectors of a text's tokens, and how many tokens were read of it

USUAL_TEXT = "Texts of a usual length show how many of them are encoded in a second here. " * 6
_MARK = re.compile(r"\S")
MOST_FOR_TOKENS = 32  # texts of one request for the vectors of tokens: of each about a megabyte of JSON
BYTES_PER_TOKEN = 4  # of English and of other scripts alike, in UTF-8; an encoder counts exactly within its batch


class TextEncoder(Protocol):
    """What turns texts to vectors, in this process or another."""

    async def embed(self, texts: list[str], kind: Kind) -> Encoded:
        """Vectors of texts, counted, as documents or as questions to them.

        Raises:
            EncoderUnavailable: if there are none in time.
            TextRefused: if the encoder refuses a text.
        """


class VectorSource(TextEncoder, Protocol):
    """The same with all that an encoder may have."""

    async def embed_tokens(self, texts: list[str], kind: Kind) -> list[TokenRows]:
        """Vectors of the tokens of texts.

        Raises:
            EncoderUnavailable: if there are none in time.
            InputError: if the encoder has none.
        """

    async def decode(self, ids: list[list[int]]) -> list[str]:
        """The texts that lists of token ids stand for.

        Raises:
            EncoderUnavailable: if the encoder is not there now.
            InputError: if it has no tokenizer, or a number is none of its ids (``TextRefused``).
        """


@dataclass(frozen=True)
class Made:
    """What was made of texts, each None where it was not asked for.

    Attributes:
        dense: vectors.
        sparse: weights of terms, a row a text.
        tokens: vectors of tokens, float32 (tokens, any), a row a text.
        read: tokens that the model read, of each text once.
    """

    dense: npt.NDArray[np.float32] | None
    sparse: list[SparseVector] | None
    tokens: list[npt.NDArray[np.float32]] | None
    read: int


@dataclass(frozen=True)
class EmbeddingLimits:
    """What one request may ask for."""

    max_texts: int
    max_chars: int
    tokens_read: int = 512  # of a text, by the model; what is beyond costs nothing


class EmbeddingService:
    """Embeds texts.

    Args:
        name: of the model, as requests name it.
        dim: dimensions of its vectors.
        encoder: of texts.
        limits: of a request.
        admission: of tokens.
        bm25: weights of terms, as the index has them; None where there is no index.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        encoder: VectorSource,
        limits: EmbeddingLimits,
        admission: Admission,
        bm25: BM25 | None = None,
    ) -> None:
        self.name, self.dim, self.limits = name, dim, limits
        self._encoder, self._admission, self._bm25 = encoder, admission, bm25

    def use(self, other: "EmbeddingService") -> None:
        """Embed as another service does from now on."""
        self.name, self.dim, self.limits = other.name, other.dim, other.limits
        self._encoder, self._bm25 = other._encoder, other._bm25

    @property
    def refusal(self) -> ApiError | None:
        """As of ``Admission``."""
        return self._admission.refusal

    async def warm_up(self) -> None:
        """Embed two full batches twice before anybody asks: admission gets the second one's rate.

        Raises:
            EncoderUnavailable: if there are no vectors in time.
        """
        one = estimated_tokens(USUAL_TEXT)
        texts = [USUAL_TEXT] * math.ceil(2 * self._admission.full / one)
        for _ in range(2):  # what is first of its shape takes longer
            started = time.perf_counter()
            await self._encoder.embed(texts, "document")
        self._admission.expect(len(texts) * one / (time.perf_counter() - started))

    async def texts_of(self, ids: list[list[int]]) -> list[str]:
        """The texts that lists of token ids stand for.

        Raises:
            ApiError: if there are too many or too long lists, the encoder has no tokenizer, a number is none of its
                ids, or it is unavailable.
        """
        check_number(len(ids), self.limits, "input")
        for place, one in enumerate(ids):
            if len(one) > self.limits.max_chars:
                message = f"list {place} has {len(one):,} token ids; at most {self.limits.max_chars:,}: split it"
                raise ApiError("invalid_request", message, "input")
        try:
            return await self._encoder.decode(ids)
        except EncoderUnavailable as error:
            raise _unavailable(error) from None
        except InputError as error:
            raise ApiError("bad_request", f"{error.problem}; {error.remedy}", "input", "token_ids") from None

    async def embed(
        self,
        texts: list[str],
        kind: Kind,
        dimensions: int | None = None,
        priority: Priority = "interactive",
        output: Sequence[Output] = ("dense",),
    ) -> Made:
        """What is asked for of texts, with the tokens that were read.

        Args:
            texts: to be embedded.
            kind: whether they are documents, or questions to such.
            dimensions: kept of each vector, which then is made of unit length again; all where None.
            priority: whether somebody waits for it.
            output: ``dense``: unit vectors, float32 (n, dim); ``sparse``: BM25 weights of terms, as the index has them,
                which the model is not asked for; ``tokens``: vectors of tokens.

        Raises:
            ApiError: if there are too many texts, one is too long, empty or refused, there are not as many dimensions,
                the encoder has no vectors of tokens, too much waits already, or the encoder is unavailable.
        """
        check_texts(texts, self.limits, "input")
        if dimensions is not None and not 1 <= dimensions <= self.dim:
            message = f"dimensions must be from 1 to {self.dim}, got {dimensions}"
            raise ApiError("invalid_request", message, "dimensions")
        if "tokens" in output and len(texts) > MOST_FOR_TOKENS:
            message = f"{len(texts):,} texts; vectors of tokens are made of at most {MOST_FOR_TOKENS} in a request"
            raise ApiError("invalid_request", message, "input")
        forwards = len({"dense", "tokens"} & {*output})
        try:
            work = sum(estimated_tokens(text, self.limits.tokens_read) for text in texts)
            with self._admission.admitted(forwards * work, priority):
                return await self._made(texts, kind, dimensions, output)
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "input", "text_refused") from None
        except EncoderUnavailable as error:
            raise _unavailable(error) from None
        except InputError as error:
            raise ApiError("bad_request", f"{error.problem}; {error.remedy}", "output") from None

    async def _made(self, texts: list[str], kind: Kind, dimensions: int | None, output: Sequence[Output]) -> Made:
        dense = sparse = rows = None
        read = 0
        if "tokens" in output:  # first: an encoder may have none
            found = await self._encoder.embed_tokens(texts, kind)
            rows, read = [vectors for vectors, _ in found], sum(tokens for _, tokens in found)
        if "dense" in output:
            encoded = await self._encoder.embed(texts, kind)
            dense, read = encoded.vectors, int(encoded.tokens.sum())
            dense = dense if dimensions is None else cut(dense, dimensions)
        if "sparse" in output:
            sparse = await asyncio.to_thread(self._weights, texts, kind)
        return Made(dense, sparse, rows, read)

    def _weights(self, texts: Sequence[str], kind: Kind) -> list[SparseVector]:
        if self._bm25 is None:
            raise InputError("there is no index, whose words weights are of", "Ask for `dense`.")
        weigh = self._bm25.passage if kind == "document" else self._bm25.query
        return [weigh(text) for text in texts]

    def is_named(self, asked: str) -> bool:
        """Whether a request names this model."""
        return asked in (self.name, self.name.rsplit("/", 1)[-1])


def check_texts(texts: list[str], limits: EmbeddingLimits, param: str) -> None:
    """Refuse texts that are too many, too long or blank.

    Raises:
        ApiError: if they are; ``param`` is their name in the request.
    """
    check_number(len(texts), limits, param)
    for place, text in enumerate(texts):
        if len(text) > limits.max_chars:
            message = f"text {place} has {len(text):,} characters; at most {limits.max_chars:,}: split it"
            raise ApiError("invalid_request", message, param)
        if _MARK.search(text) is None:
            raise ApiError("invalid_request", f"text {place} is blank", param)


def check_number(texts: int, limits: EmbeddingLimits, param: str) -> None:
    """Refuse no texts, and too many.

    Raises:
        ApiError: if there are; ``param`` is their name in the request.
    """
    if not texts:
        raise ApiError("invalid_request", f"{param} is empty: there is nothing to do", param)
    if texts > limits.max_texts:
        message = f"{texts:,} texts at once; at most {limits.max_texts:,}: send several requests"
        raise ApiError("invalid_request", message, param)


def _unavailable(error: EncoderUnavailable) -> ApiError:
    return ApiError("unavailable", error.problem, headers={"Retry-After": "2"})


def estimated_tokens(text: str, most: int | None = None) -> int:
    """About how many tokens of a text a model reads, without a tokenizer: requests must not be tokenised twice.

    Args:
        text: of any script.
        most: that the model reads.
    """
    tokens = 2 + len(text.encode(errors="replace")) // BYTES_PER_TOKEN
    return tokens if most is None else min(tokens, most)


def first_tokens(text: str, most: int) -> str:
    """About the first so many tokens of a text, by the same estimate; never part of a character."""
    if estimated_tokens(text) <= most:
        return text
    return text.encode(errors="replace")[: BYTES_PER_TOKEN * most].decode(errors="ignore") or text[:1]


def tokens_read(config: EncoderConfig) -> int:
    """Most tokens that an encoder reads of a text, as its config says; those of a usual model where it does not."""
    longest: int | None = getattr(config, "max_length", None)
    return longest or EmbeddingLimits.tokens_read


def cut(vectors: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """The first dimensions of vectors, of unit length again (Matryoshka representations, Kusupati et al., 2022)."""
    return unit_rows(np.ascontiguousarray(vectors[:, :dimensions]))
