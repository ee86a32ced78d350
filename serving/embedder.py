"""The model behind the service."""

import asyncio
import functools
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from data.cache import CacheConfig
from data.cache.encoder import CachedEncoder
from data.encoders import load_encoder
from data.encoders.config import EncoderConfig, encoders_in
from data.encoders.protocol import Encoded, Encoder, Vectors
from data.encoders.transformer.batches import BatchedEncoder
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.precision import TEXTS
from data.encoders.transformer.token_vectors import TokenEncoder
from data.errors import EncoderUnavailable, InputError
from retrieval.index import IndexMeta
from retrieval.question_encoders import QueryEncoders, query_encoders
from serving.batcher import Batcher
from serving.breaker import Breaker, BreakingEncoder
from serving.config import ServeConfig
from serving.embedding import Kind, TokenRows, estimated_tokens, tokens_read

WITHOUT_TORCH = {"endpoint", "hashed"}  # kinds of encoders for which a replica need not load it

Asked = tuple[Kind, str]
Result = TypeVar("Result")
LOCK_HELD_S = 0.0005  # at most, where another thread waits for it; Python's own 5 ms cost a tenth of the answers

Counted = tuple[Vectors, int, int]  # a vector, the tokens read of its text, and those cut off


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        meta: the index that will be asked; None where there is none, and the encoder is as its config has it.
        serve: how large batches grow, and how long a query may wait for them.
        cache: where queries are looked for before they are encoded.

    Raises:
        InputError: if the index holds vectors of another encoder, or the cache's Redis refuses.
    """

    def __init__(
        self, config: EncoderConfig, meta: IndexMeta | None, serve: ServeConfig, cache: CacheConfig | None = None
    ) -> None:
        self._config = config.for_questions(serve.encoder_timeout_s)
        self._meta, self._cache, self._serve = meta, cache, serve
        computes = any(one.kind not in WITHOUT_TORCH for one in encoders_in(config))
        workers = use_threads(serve.encoder_threads) if computes else serve.encoder_threads
        self._breaker = Breaker(serve.breaker_failures, serve.breaker_retry_s)
        self._encoders: QueryEncoders | None = None
        self._uncached: BreakingEncoder | None = None
        self.cache_degraded = False  # whether a tier did not answer when the last questions were looked for
        with suppress(EncoderUnavailable):  # the service starts, searches by words, and tries again later
            self._breaker.call(self._load)
        gathered = functools.partial(
            Batcher[Asked, Any],
            max_items=serve.max_batch,
            length=lambda asked: estimated_tokens(asked[1], tokens_read(config)),
            max_tokens=serve.max_batch_tokens,
            max_age_s=serve.max_age_s,
            text_of=lambda asked: asked[1],
            workers=workers,
            padded=self._encoders is None or pads(self._encoders.loaded),
            target_s=None if serve.target_ms is None else serve.target_ms / 1000,
        )
        question_s, text_s = serve.question_timeout_s, serve.embed_timeout_s
        self._encode: Batcher[Asked, Vectors] = gathered(self._question_batch, timeout_s=question_s)
        self._encode_tokens: Batcher[Asked, TokenRows] = gathered(self._token_batch, timeout_s=question_s)
        self._embed: Batcher[Asked, Counted] = gathered(self._embed_batch, timeout_s=text_s)
        self._embed_tokens: Batcher[Asked, TokenRows] = gathered(self._token_batch, timeout_s=text_s)
        self._batchers: tuple[Batcher[Asked, Any], ...] = (
            self._encode,
            self._encode_tokens,
            self._embed,
            self._embed_tokens,
        )

    @property
    def batches(self) -> float:
        """Full batches of work that wait or are encoded, for each thread."""
        return sum(batcher.batches for batcher in self._batchers)

    @property
    def longest_s(self) -> float:
        """How long the batch has been encoded that is encoded longest, in seconds; 0 where none is."""
        return max(batcher.longest_s for batcher in self._batchers)

    @property
    def dim(self) -> int:
        """Dimensions of its vectors.

        Raises:
            EncoderUnavailable: if it is not loaded, and cannot be.
        """
        return self._loaded().whole.dim

    def check(self) -> None:
        """Encode texts of all lengths, which warms the model up too; called in a thread, before anybody asks.

        Raises:
            EncoderUnavailable: as of ``encode``.
            InputError: if a vector is not of unit length.
        """
        rows = self._embed_batch([(kind, text) for kind in ("query", "document") for text in TEXTS])
        lengths = np.linalg.norm(np.stack([vector for vector, _, _ in rows]), axis=1)
        worst = int(np.argmax(np.nan_to_num(np.abs(lengths - 1), nan=np.inf)))
        if not abs(lengths[worst] - 1) < 1e-2:
            problem = f"the encoder {self._config.label} made a vector of length {lengths[worst]:g}; it must be 1"
            raise InputError(problem, "Use an encoder that makes vectors of unit length.")

    def close(self) -> None:
        """Give the model back, with its memory; nobody asks any more."""
        for batcher in self._batchers:
            batcher.close()
        self._encoders = self._uncached = None

    async def encode(self, text: str) -> Vectors:
        """The unit vector of one text, float32 (dim,).

        Raises:
            EncoderUnavailable: if the encoder that built the index is unavailable, or slow beyond ``serve``'s bounds.
        """
        return await self._question(self._encode, text)

    async def encode_tokens(self, text: str) -> Vectors:
        """The unit vectors of one text's tokens, float32 (tokens, late_dim); for an index that holds such."""
        vectors, _ = await self._question(self._encode_tokens, text)
        return vectors

    async def embed(self, texts: list[str], kind: Kind) -> Encoded:
        """Unit vectors of texts, float32 (n, dim), and the tokens of each; past the cache of questions.

        Raises:
            EncoderUnavailable: as of ``encode``.
            TextRefused: if the encoder refuses a text.
        """
        vectors, tokens, dropped = zip(*await self._texts(self._embed, texts, kind), strict=True)
        return Encoded(np.stack(vectors), np.array(tokens, np.int32), 0.0, np.array(dropped, np.int32))

    async def embed_tokens(self, texts: list[str], kind: Kind) -> list[TokenRows]:
        """The unit vectors of the tokens of texts, float32 (tokens, any) each, and how many tokens were read of each.

        Where the index holds such vectors these are made as they were; else they are the model's own.

        Raises:
            EncoderUnavailable: as of ``encode``.
            InputError: if the encoder has none.
        """
        return await self._texts(self._embed_tokens, texts, kind)

    async def decode(self, ids: list[list[int]]) -> list[str]:
        """The texts that lists of token ids stand for.

        Raises:
            EncoderUnavailable: as of ``encode``.
            InputError: if the encoder has no tokenizer, or a number is none of its ids (``TextRefused``).
        """
        return await asyncio.to_thread(self._decoded, ids)

    async def _question(self, encode: Batcher[Asked, Result], text: str) -> Result:
        try:
            return await encode(("query", text))
        except TimeoutError:
            raise _late(self._serve.question_timeout_s, "question_timeout_s") from None

    async def _texts(self, encode: Batcher[Asked, Result], texts: list[str], kind: Kind) -> list[Result]:
        try:
            return await encode.many([(kind, text) for text in texts])
        except TimeoutError:
            raise _late(self._serve.embed_timeout_s, "embed_timeout_s") from None

    def _decoded(self, ids: Sequence[Sequence[int]]) -> list[str]:
        encoder = self._loaded().loaded
        if not isinstance(encoder, BatchedEncoder):
            raise InputError("the encoder of this service has no tokenizer of its own", "Send texts.")
        return encoder.batches.tokenise.texts_of(ids)

    def _question_batch(self, asked: list[Asked]) -> list[Vectors]:
        encoder = self._loaded().whole
        vectors = list(encoder.encode_queries([text for _, text in asked]))
        if isinstance(encoder, CachedEncoder):
            self.cache_degraded = any(counted.degraded for counted in encoder.take_counts().values())
        return vectors

    def _token_batch(self, asked: list[Asked]) -> list[TokenRows]:
        encoders = self._loaded()
        if encoders.tokens is None and not isinstance(encoders.loaded, SentenceEncoder):
            raise InputError("the encoder of this service gives no vectors of tokens", "Ask for `dense`.")
        tokens = encoders.tokens or TokenEncoder(encoders.loaded)
        rows: list[TokenRows | None] = [None] * len(asked)
        for kind, encode in (("document", tokens.encode), ("query", tokens.encode_queries)):
            places = [place for place, (of_kind, _) in enumerate(asked) if of_kind == kind]
            made = encode([asked[place][1] for place in places])
            for place, vectors, read in zip(places, made.each(), made.read.tolist(), strict=True):
                rows[place] = vectors, read
        return [row for row in rows if row is not None]

    def _embed_batch(self, asked: list[Asked]) -> list[Counted]:
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

        if self._meta is not None:
            self._encoders = query_encoders(self._meta, self._config, self._cache, guard)
        else:
            loaded = load_encoder(self._config)
            self._encoders = QueryEncoders(guard(loaded), None, loaded)
        return self._encoders


def use_threads(count: int) -> int:
    """Let encoders that are loaded from now on compute on so many cores; how many batches they compute at once.

    A thread that encodes takes Python's lock a few times for each batch, and waits for it as long as the loop that
    answers requests holds it.

    Ray gives a process as many threads as the cores it books, which is one where it books part of one.
    """
    import torch

    torch.set_num_threads(count)
    sys.setswitchinterval(LOCK_HELD_S)
    return 1 if torch.cuda.is_available() else count


def pads(encoder: Encoder) -> bool:
    """Whether an encoder computes on padding, so that a batch costs its padded area; where it does not say, it does."""
    return not (isinstance(encoder, SentenceEncoder) and encoder.model.unpadded)


def _late(seconds: float, key: str) -> EncoderUnavailable:
    return EncoderUnavailable(f"no vector within {seconds:g} s", f"Raise serve.{key}, or serve.replicas.")
