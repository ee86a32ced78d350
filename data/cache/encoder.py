"""An encoder that asks the cache first, and the tiers that queries and documents have."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from data.cache import CacheConfig, Entries, Tier, TierCounts, TieredCache, sum_counts
from data.cache.embedded import EmbeddedRedis
from data.cache.keys import Kind, cache_keys, normalise, text_hashes
from data.cache.memory import ENTRY_BYTES, MemoryTier
from data.cache.metrics import CacheMetrics
from data.cache.redis import RedisTier, check, connect
from data.cache.stored import StoredTier
from data.encoders.protocol import Encoded, Encoder, Vectors


class CachedEncoder:
    """Computes vectors that no tier has, each text once, and stores them in the tiers.

    Args:
        encoder: what computes.
        kind: of the texts.
        cache: the tiers.
        normalise: applied to each text before anything is done with it: texts that are equal then have one vector.
        rounded: whether a vector is rounded to float16 when it is computed, so that it is the same whether a tier that
            keeps float16 has it or not.
        redis: an embedded one that lives as long as this encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        kind: Kind,
        cache: TieredCache,
        normalise: Callable[[str], str] | None = None,
        rounded: bool = False,
        redis: EmbeddedRedis | None = None,
    ) -> None:
        self._encoder = encoder
        self._kind = kind
        self._cache = cache
        self._normalise = normalise
        self._rounded = rounded
        self._redis = redis
        self._metrics = CacheMetrics(kind)
        self._counts: dict[str, TierCounts] = {}
        self.fingerprint = encoder.fingerprint
        self.dim = encoder.dim
        self.precision = encoder.precision
        self.cosine_to_fp32 = encoder.cosine_to_fp32

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors, float32 of shape (n, dim), unit length, in the order of the texts."""
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of questions; through the cache where it is one of queries."""
        return self.encode_queries_counted(texts).vectors

    def encode_queries_counted(self, texts: Sequence[str]) -> Encoded:
        """The same with their tokens; 0 for those that a cache of an earlier version has."""
        return self.encode_counted(texts) if self._kind == "query" else self._encoder.encode_queries_counted(texts)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        """Vectors with their tokens, read now or back then, and the padding of what was computed now."""
        texts = [self._normalise(text) for text in texts] if self._normalise else texts
        keys = cache_keys(self._kind, self.fingerprint, text_hashes(texts))
        entries, found = self._cache.get_many(keys)
        first: dict[bytes, int] = {}
        for place in np.flatnonzero(~found):
            first.setdefault(keys[place], int(place))
        computed = self._compute([texts[place] for place in first.values()])
        dropped = computed.dropped if len(computed.dropped) else np.zeros_like(computed.tokens)
        made = Entries(self._round(computed.vectors), np.column_stack([computed.tokens, dropped]))
        if first:
            self._cache.put_many(list(first), made)
        row = {key: number for number, key in enumerate(first)}
        whole = Entries.empty(len(texts), self.dim)
        whole.vectors[found], whole.tokens[found] = entries.vectors, entries.tokens
        again = made.select(np.array([row[keys[place]] for place in np.flatnonzero(~found)], np.int64))
        whole.vectors[~found], whole.tokens[~found] = again.vectors, again.tokens
        counts = self._cache.take_counts()
        self._metrics.add(counts)
        self._counts = sum_counts([self._counts, counts])
        return replace(computed, vectors=whole.vectors, tokens=whole.tokens[:, 0], dropped=whole.tokens[:, 1])

    def _compute(self, texts: Sequence[str]) -> Encoded:
        if self._kind == "document":
            return self._encoder.encode_counted(texts)
        if not texts:  # all are known, and the encoder may be down
            return Encoded(np.empty((0, self.dim), np.float32), np.zeros(0, np.int32), 0.0)
        return self._encoder.encode_queries_counted(texts)

    def take_counts(self) -> dict[str, TierCounts]:
        """What each tier did since the last call."""
        taken, self._counts = self._counts, {}
        return taken

    def _round(self, vectors: Vectors) -> Vectors:
        return vectors.astype(np.float16).astype(np.float32) if self._rounded else vectors


@dataclass(frozen=True)
class DocumentCache:
    """What an embedding actor needs to open its tiers; travels to it whole.

    Args:
        config: which tiers.
        url: of the Redis; None without one.
        artifacts: earlier artifacts by the fingerprint of their encoder.
    """

    config: CacheConfig
    url: str | None = None
    artifacts: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def wrap(self, encoder: Encoder) -> Encoder:
        """The encoder with the tiers of documents before it: all of them keep float32, bit for bit."""
        ttl_s, tiers = self.config.document_ttl_s, list[Tier]()
        if self.config.documents and self.config.memory_mb:
            tiers.append(MemoryTier(self.config.memory_mb, encoder.dim, ttl_s))
        if self.url is not None:
            tiers.append(RedisTier(connect(self.url, self.config.timeout_ms), encoder.dim, ttl_s, np.float32))
        if self.artifacts.get(encoder.fingerprint):
            tiers.append(StoredTier(self.artifacts[encoder.fingerprint], encoder.dim))
        return CachedEncoder(encoder, "document", TieredCache(tiers, encoder.dim)) if tiers else encoder


def remembered(encoder: Encoder, questions: int) -> Encoder:
    """The encoder with the vectors of so many questions kept in memory, bit for bit, for they are asked again."""
    megabytes = questions * (4 * encoder.dim + ENTRY_BYTES) / 2**20 + 1
    return CachedEncoder(encoder, "query", TieredCache([MemoryTier(megabytes, encoder.dim, math.inf)], encoder.dim))


def cached_queries(encoder: Encoder, config: CacheConfig) -> Encoder:
    """The encoder with the tiers of queries before it.

    Texts that differ in white space or Unicode form only, or in case where the config folds it, have one vector: that
    of the normalised text. With Redis vectors are rounded to float16, whichever tier they come from.

    Raises:
        InputError: if Redis refuses the password, or the embedded one does not start.
    """
    tiers: list[Tier] = []
    redis, url = open_redis(config)
    if config.memory_mb:
        dtype = np.float32 if url is None else np.float16
        tiers.append(MemoryTier(config.memory_mb, encoder.dim, config.query_ttl_s, dtype))
    if url is not None:
        tiers.append(RedisTier(connect(url, config.timeout_ms), encoder.dim, config.query_ttl_s))
    if not tiers:
        return encoder

    def plain(text: str) -> str:
        return normalise(text, config.fold_case)

    return CachedEncoder(encoder, "query", TieredCache(tiers, encoder.dim), plain, url is not None, redis)


def open_redis(config: CacheConfig) -> tuple[EmbeddedRedis | None, str | None]:
    """The Redis of a config: the embedded one, to be closed, and its URL; None and the URL of a server; or neither.

    Raises:
        InputError: if it refuses the password, or the embedded one does not start.
    """
    if config.redis == "none":
        return None, None
    if config.redis == "embedded":
        assert config.folder is not None, "CacheConfig.at was not called"
        embedded = EmbeddedRedis(config.folder, config.redis_mb)
        return embedded, embedded.url
    check(config.redis, config.timeout_ms)
    return None, config.redis
