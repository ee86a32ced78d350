"""The model behind the service."""

import numpy as np
import numpy.typing as npt

from data.cache import CacheConfig
from data.coalescing import Coalescer
from data.encoders import EncoderConfig
from data.index import IndexMeta
from data.retrieval import query_encoder


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        meta: the index that will be asked.
        max_batch: most queries in a batch.
        cache: where queries are looked for before they are encoded.

    Raises:
        InputError: if the index holds vectors of another encoder, or the cache's Redis refuses.
    """

    def __init__(
        self, config: EncoderConfig, meta: IndexMeta, max_batch: int, cache: CacheConfig | None = None
    ) -> None:
        self._encoder = query_encoder(meta, config, cache)
        self._encode = Coalescer[str, npt.NDArray[np.float32]](self._encode_batch, max_batch)

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,)."""
        return await self._encode(text)

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        return list(self._encoder.encode(texts))
