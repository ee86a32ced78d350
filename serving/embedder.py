"""The model behind the service."""

import functools
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoded, Encoder
from data.errors import EncoderUnavailable
from retrieval.index import IndexMeta
from retrieval.search import QueryEncoders, query_encoders
from serving.batcher import Batcher
from serving.breaker import Breaker, BreakingEncoder
from serving.config import ServeConfig
from serving.embedding import Kind, estimated_tokens, tokens_read

Counted = tuple[npt.NDArray[np.float32], int, int]  # a vector, the tokens read of its text, and those cut off


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
        self._meta, self._cache, self._serve = meta, cache, serve
        workers = use_threads(serve.encoder_threads)
        self._breaker = Breaker(serve.breaker_failures, serve.breaker_retry_s)
        self._encoders: QueryEncoders | None = None
        self._uncached: BreakingEncoder | None = None
        with suppress(EncoderUnavailable):  # the service starts, searches by words, and tries again later
            self._breaker.call(self._load)
        gathered = functools.partial(
            Batcher[str, npt.NDArray[np.float32]],
            max_items=serve.max_batch,
            length=lambda text: estimated_tokens(text, tokens_read(config)),
            max_tokens=serve.max_batch_tokens,
            max_age_s=serve.max_age_s,
            timeout_s=serve.question_timeout_s,
            workers=workers,
        )
        self._encode, self._encode_tokens = gathered(self._encode_batch), gathered(self._token_batch)
        self._embed_tokens = Batcher[str, npt.NDArray[np.float32]](
            self._passage_tokens,
            max_items=serve.max_batch,
            length=lambda text: estimated_tokens(text, tokens_read(config)),
            max_tokens=serve.max_batch_tokens,
            max_age_s=serve.max_age_s,
            timeout_s=serve.embed_timeout_s,
        )
        self._embed = Batcher[tuple[Kind, str], Counted](
            self._embed_batch,
            max_items=serve.max_batch,
            length=lambda asked: estimated_tokens(asked[1], tokens_read(config)),
            max_tokens=serve.max_batch_tokens,
            max_age_s=serve.max_age_s,
            timeout_s=serve.embed_timeout_s,
            text_of=lambda asked: asked[1],
            workers=workers,
        )

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,).

        Raises:
            EncoderUnavailable: if the encoder that built the index is unavailable, or slow beyond ``serve``'s bounds.
        """
        return await self._within_bounds(self._encode, text)

    async def encode_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vectors of one text's tokens, float32 (tokens, late_dim); for an index that holds such."""
        return await self._within_bounds(self._encode_tokens, text)

    async def embed(self, texts: list[str], kind: Kind) -> Encoded:
        """Unit vectors of texts, float32 (n, dim), and the tokens of each; past the cache of questions.

        Raises:
            EncoderUnavailable: as of ``encode``.
            TextRefused: if the encoder refuses a text.
        """
        try:
            rows = await self._embed.many([(kind, text) for text in texts])
        except TimeoutError:
            raise _late(self._serve.embed_timeout_s, "embed_timeout_s") from None
        vectors, tokens, dropped = zip(*rows, strict=True)
        return Encoded(np.stack(vectors), np.array(tokens, np.int32), 0.0, np.array(dropped, np.int32))

    async def embed_tokens(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        """The unit vectors of each document's tokens, float32 (tokens, late_dim); for an index that holds such.

        Raises:
            EncoderUnavailable: as of ``encode``.
        """
        try:
            return await self._embed_tokens.many(texts)
        except TimeoutError:
            raise _late(self._serve.embed_timeout_s, "embed_timeout_s") from None

    async def _within_bounds(self, encode: Batcher[str, npt.NDArray[np.float32]], text: str) -> npt.NDArray[np.float32]:
        try:
            return await encode(text)
        except TimeoutError:
            raise _late(self._serve.question_timeout_s, "question_timeout_s") from None

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        return list(self._loaded().whole.encode_queries(texts))

    def _token_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        tokens = self._loaded().tokens
        assert tokens is not None, "the ingress refuses mode late without token vectors"
        return tokens.encode_queries(texts).each()

    def _passage_tokens(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        tokens = self._loaded().tokens
        assert tokens is not None, "only an index that holds token vectors asks for some"
        return tokens.encode(texts).each()

    def _embed_batch(self, asked: list[tuple[Kind, str]]) -> list[Counted]:
        self._loaded()
        assert self._uncached is not None, "loaded with the others"
        rows: list[Counted | None] = [None] * len(asked)
        for kind, encode in (
            ("document", self._uncached.encode_counted),
            ("query", self._uncached.encode_queries_counted),
        ):
            places = [place for place, (of_kind, _) in enumerate(asked) if of_kind == kind]
            if places:
                encoded = encode([asked[place][1] for place in places])
                dropped = encoded.dropped if len(encoded.dropped) else np.zeros_like(encoded.tokens)
                counts = zip(encoded.tokens.tolist(), dropped.tolist(), strict=True)
                for place, vector, (tokens, lost) in zip(places, encoded.vectors, counts, strict=True):
                    rows[place] = vector, tokens, lost
        return [row for row in rows if row is not None]

    def _loaded(self) -> QueryEncoders:
        return self._encoders or self._breaker.call(self._load)

    def _load(self) -> QueryEncoders:
        def guard(encoder: Encoder) -> Encoder:
            self._uncached = BreakingEncoder(encoder, self._breaker)
            return self._uncached

        self._encoders = query_encoders(self._meta, self._config, self._cache, guard)
        return self._encoders


def use_threads(count: int) -> int:
    """Let encoders that are loaded from now on compute on so many cores; how many batches they compute at once.

    Ray gives a process as many threads as the cores it books, which is one where it books part of one.
    """
    import torch

    torch.set_num_threads(count)
    return 1 if torch.cuda.is_available() else count


def _late(seconds: float, key: str) -> EncoderUnavailable:
    return EncoderUnavailable(f"no vector within {seconds:g} s", f"Raise serve.{key}, or serve.replicas.")
