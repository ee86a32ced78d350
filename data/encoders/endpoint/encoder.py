"""An OpenAI-compatible server of embeddings as an encoder: ``POST {base_url}/embeddings``."""

import base64
import hashlib
import json
import os
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from data.encoders.config import EndpointConfig
from data.encoders.endpoint.retrying import RequestFailed, Retryable, retry, seconds_until
from data.encoders.protocol import Encoded, Vectors
from data.errors import EncoderUnavailable, InputError, TextRefused
from data.matrices import unit_rows
from data.surrogates import replace_surrogates
from data.words import count_words

_MESSAGE_CHARS = 200  # of a server's error message that are shown


class EndpointEncoder:
    """Sends texts in batches, several at once, and checks every answer.

    Errors that the user has to correct (401, 404, other dimensions than asked for) raise ``InputError`` at once. Errors
    that may pass (429, 5xx, no connection, no answer in time, half an answer, an invalid one) are retried and then
    raise ``EncoderUnavailable``. The first request is sent when the encoder is made: it gives the dimension.

    Args:
        config: where the server is, which model, how patient to be.
    """

    precision = "endpoint"
    cosine_to_fp32 = 1.0

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        key = os.environ.get(config.api_key_variable, "")
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(config.request_timeout_s, connect=config.connect_timeout_s),
            limits=httpx.Limits(max_connections=config.in_flight),
        )
        weakref.finalize(self, self._client.close)  # nobody closes an encoder; open connections are warned of
        self._pool = ThreadPoolExecutor(config.in_flight, thread_name_prefix="endpoint")
        self.dim = config.dimensions or 0
        self.dim = self._batch(["dimension"], "while asking for its dimension")[0].shape[1]
        described = [config.model, config.revision, self.dim, config.max_chars]
        self.fingerprint = hashlib.blake2b(f"endpoint 1 {json.dumps(described)}".encode(), digest_size=8).hexdigest()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions: the same as of documents."""
        return self.encode(texts)

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors of questions with their tokens: the same as of documents."""
        return self.encode_counted(texts)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with the tokens that the server counted, shared out by length; words where it counted none.

        What ``max_chars`` cuts off a text is estimated in tokens from the part that was sent; what the server itself
        cuts off is not known.

        Raises:
            InputError: if the server refuses the key, the model or the texts, or answers with other dimensions.
            EncoderUnavailable: if it does not answer, or answers are invalid, after all retries.
        """
        sent = [_readable(text, self._config.max_chars) for text in texts]
        size = self._config.batch_texts
        batches = [sent[start : start + size] for start in range(0, len(sent), size)]
        answers = list(self._pool.map(self._batch, batches))
        if not answers:
            return Encoded(np.empty((0, self.dim), np.float32), np.empty(0, np.int32), 0.0)
        vectors, tokens = zip(*answers, strict=True)
        counted = np.concatenate(tokens)
        return Encoded(np.concatenate(vectors), counted, 0.0, _dropped(texts, sent, counted))

    def _batch(self, texts: list[str], asking: str | None = None) -> tuple[Vectors, npt.NDArray[np.int32]]:
        """Unit vectors and tokens of one request's texts; an error names ``asking``, or else how the batch begins."""
        config = self._config
        try:
            return retry(lambda: self._ask(texts), config.retries, config.backoff_s, config.longest_wait_s)
        except RequestFailed as error:
            begins = texts[0][:40].encode("ascii", "backslashreplace").decode()
            asked = asking or f"batch of {len(texts)} texts that begins with {begins!r}"
            raise EncoderUnavailable(
                f"the encoder {config.model} at {config.base_url} is unavailable: {error} [{asked}]",
                "Start it again when the server is well, or give the encoder a `fallback`.",
            ) from None

    def _ask(self, texts: list[str]) -> tuple[Vectors, npt.NDArray[np.int32]]:
        body: dict[str, Any] = {
            "model": self._config.model,
            "input": texts,
            "encoding_format": self._config.encoding_format,
        }
        if self._config.dimensions is not None:
            body["dimensions"] = self._config.dimensions
        status, headers, content = self._post(body)
        if status != 200:
            self._refuse(status, headers, content, texts)
        try:
            answer = json.loads(content)
            rows, tokens = answer["data"], _tokens(answer.get("usage"), texts)
            vectors = self._in_order([(row.get("index", n), _numbers(row["embedding"])) for n, row in enumerate(rows)])
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:  # binascii's is a ValueError
            raise Retryable(f"its answer is no list of embeddings: {type(error).__name__}: {error}") from None
        return self._checked(vectors, len(texts)), tokens

    def _post(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        """One request; the whole answer has to come within ``request_timeout_s``, however many pieces it comes in."""
        limit = self._config.request_timeout_s
        deadline = time.monotonic() + limit
        try:
            with self._client.stream("POST", f"{self._config.base_url}/embeddings", json=body) as response:
                pieces = []
                for piece in response.iter_bytes():
                    pieces.append(piece)
                    if time.monotonic() > deadline:
                        raise Retryable(f"no whole answer within {limit:g} s")
                return response.status_code, response.headers, b"".join(pieces)
        except httpx.ConnectTimeout:
            raise Retryable(f"no connection within {self._config.connect_timeout_s:g} s") from None
        except httpx.TimeoutException:
            raise Retryable(f"no answer within {limit:g} s") from None
        except httpx.TransportError as error:  # refused, reset, cut off in mid-body
            raise Retryable(f"{type(error).__name__}: {error}") from None
        except httpx.DecodingError as error:
            raise Retryable(f"its answer is cut off or broken: {error}") from None

    def _refuse(self, status: int, headers: httpx.Headers, content: bytes, texts: Sequence[str]) -> None:
        """Raise what a status other than 200 means."""
        message = " ".join(content.decode("utf-8", "replace").split())[:_MESSAGE_CHARS]
        problem = f"the encoder {self._config.model} at {self._config.base_url} answers {status}: {message}"
        if status in (408, 409, 425, 429) or status >= 500:
            raise Retryable(f"it answers {status}: {message}", seconds_until(headers.get("Retry-After")))
        if status in (401, 403):
            raise InputError(problem, f"Put a key that is valid there into {self._config.api_key_variable}.")
        if status == 404:
            raise InputError(
                problem, "Check encoder.endpoint.base_url (the URL without /embeddings) and encoder.endpoint.model."
            )
        if 300 <= status < 400:
            raise InputError(problem, f"Set encoder.endpoint.base_url to where it leads: {headers.get('Location')}.")
        remedy = "Check encoder.endpoint: model, dimensions, batch_texts and max_chars."
        if status in (400, 413, 422):  # it names no text where there are several
            raise TextRefused(problem, remedy, texts[0] if len(texts) == 1 else "")
        raise InputError(problem, remedy)

    def _in_order(self, rows: list[tuple[int, npt.NDArray[np.float32]]]) -> list[npt.NDArray[np.float32]]:
        """Vectors in the order of the texts: servers may answer in another one and say so by ``index``."""
        if sorted(index for index, _ in rows) != list(range(len(rows))):
            raise Retryable("its answer lacks texts or has some twice, by `index`")
        return [vector for _, vector in sorted(rows, key=lambda row: row[0])]

    def _checked(self, vectors: list[npt.NDArray[np.float32]], texts: int) -> Vectors:
        if len(vectors) != texts:
            raise Retryable(f"it answers {texts} texts with {len(vectors)} vectors")
        found = sorted({len(vector) for vector in vectors})
        wanted = self.dim or found[0]
        if found != [wanted] or not wanted:
            raise InputError(
                f"the encoder {self._config.model} at {self._config.base_url} answers with vectors of "
                f"{' and '.join(map(str, found))} dimensions instead of {wanted}",
                "Check encoder.endpoint.model and encoder.endpoint.dimensions: few models can shorten vectors.",
            )
        matrix: Vectors = np.stack(vectors)
        if not np.isfinite(matrix).all() or not unit_rows(matrix, out=matrix).any(axis=1).all():
            raise Retryable("its answer holds vectors that are not finite, or zero")
        return matrix


def _readable(text: str, longest: int) -> str:
    """The text as servers take it: not too long, no lone surrogates, not empty."""
    return replace_surrogates(text[:longest]) or " "


def _dropped(texts: Sequence[str], sent: Sequence[str], tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Tokens cut off each text, int32, estimated from those of the part that was sent; at least 1 where any was."""
    whole, part = (np.array(list(map(len, some)), dtype=np.int64) for some in (texts, sent))
    beyond = np.round(tokens * (whole / part - 1)).astype(np.int32)
    return np.where(whole > part, np.maximum(beyond, 1), 0).astype(np.int32)


def _numbers(embedding: str | list[float]) -> npt.NDArray[np.float32]:
    """A vector as it came: base64 of little-endian float32, or a list of numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    vector = np.array(embedding, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError(f"an embedding of {vector.ndim} axes")
    return vector


def _tokens(usage: object, texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """Tokens of each text, int32: the server's total divided by length; words where its count is missing or invalid."""
    total = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if not isinstance(total, int | float) or isinstance(total, bool) or not 0 < total <= np.iinfo(np.int32).max:
        return count_words(texts)
    ends = np.cumsum([len(text) for text in texts]) * (total / sum(map(len, texts)))
    return np.diff(np.round(ends), prepend=0).astype(np.int32)
