"""What turns questions to vectors: the encoder that built the index, reduced and cached as the index needs it."""

from collections.abc import Callable
from typing import NamedTuple

from data.cache import CacheConfig
from data.cache.encoder import cached_queries
from data.encoders.chain import load_again
from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoder
from data.encoders.transformer.token_vectors import TokenEncoder
from data.errors import InputError
from data.vectors.projection import Projection, ReducedEncoder
from retrieval.index import IndexMeta


class QueryEncoders(NamedTuple):
    """What turns the questions to an index to vectors, and to those of their tokens where the index holds such.

    ``loaded`` is the encoder itself, without cache, guard and what its vectors are reduced by.
    """

    whole: Encoder
    tokens: TokenEncoder | None
    loaded: Encoder


def query_encoders(
    meta: IndexMeta,
    config: EncoderConfig,
    cache: CacheConfig | None = None,
    guard: Callable[[Encoder], Encoder] = lambda encoder: encoder,
) -> QueryEncoders:
    """Load the encoder for an index's questions, in the precision of its vectors where the config leaves the choice.

    Where the vectors were reduced, its questions are too; unless hits are rescored, where the index reduces them.

    A precision chosen by measurement may differ on another day and would then not fit the index. Of a chain, only the
    encoder that built the index is loaded: where that one is unavailable, questions have no vectors.

    Args:
        meta: describes the index.
        config: which encoder.
        cache: where questions are looked for before they are encoded, but for the vectors of their tokens; None
            computes each of them.
        guard: wraps the encoder behind the cache, such as a breaker does; nothing by default.

    Raises:
        InputError: if another encoder built the index, or the cache's Redis refuses.
        EncoderUnavailable: if the one that built it is unavailable now.
    """
    projection = None if meta.projection is None else Projection.load(meta.projection)
    made_by = meta.encoder if projection is None else projection.encoder
    loaded = load_again(config, made_by, meta.precision, meta.link)
    encoder = loaded if projection is None or meta.full_dim is not None else ReducedEncoder(loaded, projection)
    check_encoder(meta, encoder.fingerprint)
    tokens = None
    if meta.token_projection is not None:
        tokens = TokenEncoder(loaded, projection=Projection.load(meta.token_projection))
    guarded = guard(encoder)
    return QueryEncoders(cached_queries(guarded, cache) if cache else guarded, tokens, loaded)


def check_encoder(meta: IndexMeta, fingerprint: str) -> None:
    """Refuse to ask an index with vectors of another encoder: their numbers have nothing to do with each other.

    Raises:
        InputError: if the fingerprints differ.
    """
    if meta.question_encoder != fingerprint:
        raise InputError(
            f"the index was built by another encoder: {meta.question_encoder}, this is {fingerprint}",
            "Use the encoder that built it, or embed and index again.",
        )
