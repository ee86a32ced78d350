"""The model behind the service."""

from contextlib import suppress

import numpy as np
import numpy.typing as npt

from data.coalescing import Coalescer
from data.encoders import Encoder, EncoderConfig
from data.errors import EncoderUnavailable
from data.index import IndexMeta
from data.retrieval import query_encoder


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        meta: the index that will be asked.
        max_batch: most queries in a batch.

    Raises:
        InputError: if the index holds vectors of another encoder.
    """

    def __init__(self, config: EncoderConfig, meta: IndexMeta, max_batch: int) -> None:
        self._config, self._meta = config, meta
        self._encoder: Encoder | None = None
        with suppress(EncoderUnavailable):  # the service starts and searches by words; each question asks again
            self._encoder = query_encoder(meta, config)
        self._encode = Coalescer[str, npt.NDArray[np.float32]](self._encode_batch, max_batch)

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,).

        Raises:
            EncoderUnavailable: if the encoder that built the index cannot be had now.
        """
        return await self._encode(text)

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        if self._encoder is None:
            self._encoder = query_encoder(self._meta, self._config)
        return list(self._encoder.encode(texts))
