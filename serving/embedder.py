"""The model behind the service."""

import functools
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig
from data.errors import EncoderUnavailable
from retrieval.index import IndexMeta
from retrieval.search import QueryEncoders, query_encoders
from serving.batcher import Batcher
from serving.breaker import Breaker, BreakingEncoder
from serving.config import ServeConfig

BYTES_PER_TOKEN = 4  # of English and of other scripts alike, in UTF-8; an encoder counts exactly within its batch


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        meta: the index that will be asked.
        serve: how large batches grow, and how long a query may wait for them.
        cache: where queries are looked for before they are encoded.

    Raises:
        InputError: if the index holds vectors of another encoder, or the cache's Redis refuses.
    """

    def __init__(
        self, config: EncoderConfig, meta: IndexMeta, serve: ServeConfig, cache: CacheConfig | None = None
    ) -> None:
        self._config = config.for_questions(serve.encoder_timeout_s)
        self._meta, self._cache, self._timeout_s = meta, cache, serve.question_timeout_s
        self._breaker = Breaker(serve.breaker_failures, serve.breaker_retry_s)
        self._encoders: QueryEncoders | None = None
        with suppress(EncoderUnavailable):  # the service starts, searches by words, and tries again later
            self._breaker.call(self._load)
        gathered = functools.partial(
            Batcher[str, npt.NDArray[np.float32]],
            max_items=serve.max_batch,
            length=estimated_tokens,
            max_tokens=serve.max_batch_tokens,
            max_age_s=serve.max_age_s,
            timeout_s=serve.question_timeout_s,
        )
        self._encode, self._encode_tokens = gathered(self._encode_batch), gathered(self._token_batch)

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,).

        Raises:
            EncoderUnavailable: if the encoder that built the index is unavailable, or slow beyond ``serve``'s bounds.
        """
        return await self._within_bounds(self._encode, text)

    async def encode_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vectors of one text's tokens, float32 (tokens, late_dim); for an index that holds such."""
        return await self._within_bounds(self._encode_tokens, text)

    async def _within_bounds(self, encode: Batcher[str, npt.NDArray[np.float32]], text: str) -> npt.NDArray[np.float32]:
        try:
            return await encode(text)
        except TimeoutError:
            raise EncoderUnavailable(
                f"no vector within {self._timeout_s:g} s", "Raise serve.question_timeout_s, or serve.replicas."
            ) from None

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        return list(self._loaded().whole.encode_queries(texts))

    def _token_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        tokens = self._loaded().tokens
        assert tokens is not None, "the ingress refuses mode late without token vectors"
        return tokens.encode_queries(texts).each()

    def _loaded(self) -> QueryEncoders:
        return self._encoders or self._breaker.call(self._load)

    def _load(self) -> QueryEncoders:
        guard = functools.partial(BreakingEncoder, breaker=self._breaker)
        self._encoders = query_encoders(self._meta, self._config, self._cache, guard)
        return self._encoders


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer: requests must not be tokenised twice."""
    return 2 + len(text.encode(errors="replace")) // BYTES_PER_TOKEN
