"""One worker of the embedding: it holds an encoder and turns partitions of passages into partitions of vectors."""

import logging
import time
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from data.cache import TierCounts
from data.cache.encoder import CachedEncoder, DocumentCache
from data.cache.keys import text_hashes
from data.embedding.metrics import EmbedMetrics
from data.encoders import load_encoder
from data.encoders.config import EncoderConfig
from data.encoders.protocol import Encoded, Encoder
from data.errors import EncoderUnavailable, InputError, TextRefused
from data.passages.text import passage_texts
from data.vectors.quantise import Storage
from data.vectors.table import Partition, describe, write_vectors


class Embedded(BaseModel):
    """A partition of vectors that a worker made: its contents, and what making it took."""

    model_config = ConfigDict(frozen=True)

    partition: Partition
    padding_share: float
    oom_retries: int
    cache: dict[str, TierCounts]  # by tier
    ready_at: float  # when the worker's encoder was loaded; seconds since the epoch, as the next two
    started_at: float
    finished_at: float


class EmbedPartition:
    """One worker of the pool: loads the encoder once, then embeds partitions.

    The encoder is loaded by the first partition rather than by the constructor: an actor that is killed while it loads
    is then replaced like any other, and a fault of the encoder is reported once.

    Args:
        encoder: which encoder.
        batch_tokens: largest padded area of a batch.
        cores: batches at once on a CPU.
        vectors: folder the partitions are written to.
        cache: what may be known before.
        storage: form of the vectors in them.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        batch_tokens: int,
        cores: int,
        vectors: Path,
        cache: DocumentCache | None = None,
        storage: Storage = "float32",
    ) -> None:
        logging.getLogger("catena").setLevel(logging.INFO)  # Ray keeps the actor's log in its session folder
        self._config = encoder
        self._batch_tokens = batch_tokens
        self._cores = cores
        self._vectors = vectors
        self._cache = cache
        self._storage = storage
        self._ready_at = time.time()
        self._metrics = EmbedMetrics()

    @cached_property
    def _encoder(self) -> Encoder:
        encoder = load_encoder(self._config, self._batch_tokens, self._cores)
        self._ready_at = time.time()
        return self._cache.wrap(encoder) if self._cache else encoder

    def __call__(self, passages: Path) -> Embedded:
        """Embed one partition of passages and write its vectors, unless they exist.

        They exist where an actor died after writing them and before its answer arrived.
        """
        encoder = self._encoder
        started_at = time.time()
        path = self._vectors / passages.name
        padding_share, oom_retries = 0.0, 0
        if not path.exists():
            rows = pq.read_table(passages, columns=["id", "document_id", "title", "text"])
            texts = passage_texts(rows["title"], rows["text"]).to_pylist()
            encoded = _encode(encoder, passages, texts, rows["document_id"].to_pylist())
            padding_share, oom_retries = encoded.padding_share, encoded.oom_retries
            write_vectors(rows["id"], rows["document_id"], text_hashes(texts), encoded, encoder, path, self._storage)
        embedded = Embedded(
            partition=describe(path),
            padding_share=padding_share,
            oom_retries=oom_retries,
            cache=encoder.take_counts() if isinstance(encoder, CachedEncoder) else {},
            ready_at=self._ready_at,
            started_at=started_at,
            finished_at=time.time(),
        )
        self._metrics.record(
            embedded.partition.rows, embedded.partition.tokens, embedded.finished_at - started_at, padding_share
        )
        return embedded


def _encode(encoder: Encoder, passages: Path, texts: list[str], documents: list[str]) -> Encoded:
    """Encode a partition's texts; InputError names the partition, and the document of a text that is refused."""
    try:
        return encoder.encode_counted(texts)
    except EncoderUnavailable:  # has nothing to do with the partition
        raise
    except TextRefused as error:
        named = f"document {documents[texts.index(error.text)]}: " if error.text and error.text in texts else ""
        raise InputError(f"{passages}: {named}{error.problem}", error.remedy) from error
    except InputError as error:
        raise InputError(f"{passages}: {error.problem}", error.remedy) from error
