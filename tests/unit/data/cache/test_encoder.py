"""An encoder behind the cache: what it returns is what the encoder would, and what is known is not computed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data.cache import CacheConfig, TierCounts, TieredCache
from data.cache.embedded import EmbeddedRedis
from data.cache.encoder import CachedEncoder, DocumentCache, cached_queries, remembered
from data.cache.memory import MemoryTier
from data.encoders import load_encoder
from data.encoders.config import PluginConfig
from data.encoders.protocol import Encoded, Vectors
from data.errors import InputError

SLOW_MS = 5000


class Counting:
    """The stub encoder, with a list of what it was asked."""

    def __init__(self, fingerprint: str = "mark") -> None:
        self._encoder = load_encoder(PluginConfig(model="benchmarks.embed.stub_encoder:load"))
        self.fingerprint, self.dim = fingerprint, self._encoder.dim
        self.precision, self.cosine_to_fp32 = "own", 1.0
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self.encode_counted(texts).vectors

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_counted(texts).vectors

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        self.asked += texts
        return self._encoder.encode_counted(texts)

    encode_queries_counted = encode_counted


def in_memory(encoder: Counting) -> CachedEncoder:
    return CachedEncoder(encoder, "document", TieredCache([MemoryTier(1, encoder.dim, 60.0)], encoder.dim))


def test_what_is_known_is_not_computed_again() -> None:
    plain, counting = Counting(), Counting()
    cached = in_memory(counting)
    for texts in (["a b", "c", "a b"], ["d", "c", "a b", "c"], [], ["c"]):
        expected, got = plain.encode_counted(texts), cached.encode_counted(texts)
        np.testing.assert_array_equal(got.vectors, expected.vectors)
        np.testing.assert_array_equal(got.tokens, expected.tokens)
    assert counting.asked == ["a b", "c", "d"]
    assert cached.take_counts() == {"memory": TierCounts(lookups=8, hits=4)}
    assert cached.take_counts() == {}


def test_documents_are_taken_as_they_stand() -> None:
    counting = Counting()
    in_memory(counting).encode(["a  b", "a b", "A b"])
    assert counting.asked == ["a  b", "a b", "A b"]


def test_queries_of_one_text_have_one_vector_and_it_is_that_of_the_normalised_text() -> None:
    counting = Counting()
    cached = cached_queries(counting, CacheConfig(fold_case=True))
    vectors = cached.encode(["  The Moon", "the\nmoon ", "u\u0308ber"])
    assert counting.asked == ["the moon", "\u00fcber"]
    np.testing.assert_array_equal(vectors[:2], Counting().encode(["the moon"] * 2))
    (again,) = cached.encode(["THE MOON"])
    assert np.array_equal(again, vectors[0]) and len(counting.asked) == 2


def test_a_config_without_tiers_leaves_the_encoder_alone() -> None:
    counting = Counting()
    assert cached_queries(counting, CacheConfig(memory_mb=0)) is counting
    assert DocumentCache(CacheConfig()).wrap(counting) is counting


def test_redis_gives_the_same_float16_to_everyone_and_another_encoder_nothing(tmp_path: Path) -> None:
    config = CacheConfig(redis="embedded", timeout_ms=SLOW_MS).in_workspace(tmp_path)
    one, two, other = Counting(), Counting(), Counting("a new version")
    first = cached_queries(one, config)
    computed = first.encode(["moon", "sea"])
    np.testing.assert_array_equal(computed, Counting().encode(["moon", "sea"]).astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(first.encode(["moon", "sea"]), computed)
    second = cached_queries(two, config.model_copy(update={"memory_mb": 0}))
    np.testing.assert_array_equal(second.encode(["sea", "moon"]), computed[::-1])
    assert two.asked == []
    cached_queries(other, config).encode(["moon"])
    assert other.asked == ["moon"]


def test_documents_in_redis_keep_every_bit_and_fill_the_nearer_tier(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, 16) as server:
        shared = DocumentCache(CacheConfig(documents=True, timeout_ms=SLOW_MS), server.url)
        texts = [str(number) for number in range(300)]
        expected = Counting().encode(texts)
        shared.wrap(Counting()).encode(texts)
        counting = Counting()
        cached = shared.wrap(counting)
        for _ in range(2):
            np.testing.assert_array_equal(cached.encode(texts), expected)
        assert counting.asked == []
        assert isinstance(cached, CachedEncoder)
        assert cached.take_counts() == {
            "memory": TierCounts(lookups=600, hits=300),
            "redis": TierCounts(lookups=300, hits=300),
        }


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "embeded", ""])
def test_a_redis_that_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a URL that begins with redis://"):
        CacheConfig(redis=url)


def test_a_password_in_the_run_file_is_refused_and_not_printed() -> None:
    with pytest.raises(InputError, match="holds a password") as refused:
        CacheConfig(redis="redis://user:moonlight@host:6379/0")
    assert "moonlight" not in str(refused.value)
    assert CacheConfig(redis="rediss://user@host:6379/0").redis == "rediss://user@host:6379/0"


def test_no_key_of_the_cache_changes_what_a_run_makes() -> None:
    assert CacheConfig(stored=True, documents=True, fold_case=True, redis="embedded").identity() == {}
    assert CacheConfig.execution == set(CacheConfig.model_fields)


def test_questions_that_are_asked_again_are_remembered_as_they_were() -> None:
    plain, counting = Counting(), Counting()
    encoder = remembered(counting, 40)
    texts = [f"question {number}" for number in range(40)]
    for _ in range(3):
        np.testing.assert_array_equal(encoder.encode_queries(texts), plain.encode_queries(texts))
    encoder.encode_queries(["question  1"])
    assert counting.asked == [*texts, "question  1"]
