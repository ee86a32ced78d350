"""Vectors of texts as the service hands them out: checked, cut to the dimensions asked for, counted."""

import re
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoded
from data.errors import EncoderUnavailable, TextRefused
from data.matrices import unit_rows
from serving.admission import Admission, Priority
from serving.errors import ApiError

Kind = Literal["document", "query"]

_MARK = re.compile(r"\S")
BYTES_PER_TOKEN = 4  # of English and of other scripts alike, in UTF-8; an encoder counts exactly within its batch


class TextEncoder(Protocol):
    """What turns texts to vectors, in this process or another."""

    async def embed(self, texts: list[str], kind: Kind) -> Encoded:
        """Vectors of texts, counted, as documents or as questions to them.

        Raises:
            EncoderUnavailable: if there are none in time.
            TextRefused: if the encoder refuses a text.
        """


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
    """

    def __init__(
        self, name: str, dim: int, encoder: TextEncoder, limits: EmbeddingLimits, admission: Admission
    ) -> None:
        self.name, self.dim, self.limits = name, dim, limits
        self._encoder, self._admission = encoder, admission

    def use(self, name: str, dim: int, encoder: TextEncoder) -> None:
        """Embed with another model from now on."""
        self.name, self.dim, self._encoder = name, dim, encoder

    async def embed(
        self, texts: list[str], kind: Kind, dimensions: int | None = None, priority: Priority = "interactive"
    ) -> Encoded:
        """Unit vectors of texts, float32 (n, dim), with the tokens read of each.

        Args:
            texts: to be embedded.
            kind: whether they are documents, or questions to such.
            dimensions: kept of each vector, which then is made of unit length again; all where None.
            priority: whether somebody waits for it.

        Raises:
            ApiError: if there are too many texts, one is too long, empty or refused, there are not as many dimensions,
                too much waits already, or the encoder is unavailable.
        """
        check_texts(texts, self.limits, "input")
        if dimensions is not None and not 1 <= dimensions <= self.dim:
            message = f"dimensions must be from 1 to {self.dim}, got {dimensions}"
            raise ApiError("invalid_request", message, "dimensions")
        try:
            work = sum(estimated_tokens(text, self.limits.tokens_read) for text in texts)
            with self._admission.admitted(work, priority):
                encoded = await self._encoder.embed(texts, kind)
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "input", "text_refused") from None
        except EncoderUnavailable as error:
            raise ApiError("unavailable", error.problem, headers={"Retry-After": "2"}) from None
        return encoded if dimensions is None else replace(encoded, vectors=cut(encoded.vectors, dimensions))

    def check_model(self, asked: str | None) -> None:
        """Refuse another model than the one that is served.

        Raises:
            ApiError: if another one is asked for.
        """
        if asked is not None and asked not in (self.name, self.name.rsplit("/", 1)[-1]):
            raise ApiError("not_found", f"there is no model {asked!r}; this service has {self.name!r}", "model")


def check_texts(texts: list[str], limits: EmbeddingLimits, param: str) -> None:
    """Refuse texts that are too many, too long or blank.

    Raises:
        ApiError: if they are; ``param`` is their name in the request.
    """
    if not texts:
        raise ApiError("invalid_request", f"{param} is empty: there is nothing to do", param)
    if len(texts) > limits.max_texts:
        message = f"{len(texts):,} texts at once; at most {limits.max_texts:,}: send several requests"
        raise ApiError("invalid_request", message, param)
    for place, text in enumerate(texts):
        if len(text) > limits.max_chars:
            message = f"text {place} has {len(text):,} characters; at most {limits.max_chars:,}: split it"
            raise ApiError("invalid_request", message, param)
        if _MARK.search(text) is None:
            raise ApiError("invalid_request", f"text {place} is blank", param)


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
