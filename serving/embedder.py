"""The model behind the service."""

import numpy as np
import numpy.typing as npt

from data.coalescing import Coalescer
from data.encoders import EncoderConfig
from data.index import IndexMeta
from data.retrieval import query_encoder
from serving.config import ServeConfig

BYTES_PER_TOKEN = 4  # of English and of other scripts alike, in UTF-8; an encoder counts exactly within its batch


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        meta: the index that will be asked.
        serve: how large batches grow, and how long a query may stand back for them.

    Raises:
        InputError: if the index holds vectors of another encoder.
    """

    def __init__(self, config: EncoderConfig, meta: IndexMeta, serve: ServeConfig) -> None:
        self._encoder = query_encoder(meta, config)
        self._encode = Coalescer[str, npt.NDArray[np.float32]](
            self._encode_batch, serve.max_batch, estimated_tokens, serve.max_batch_tokens, serve.max_age_s
        )

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,)."""
        return await self._encode(text)

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        return list(self._encoder.encode_queries(texts))


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer: requests must not be tokenised twice."""
    return 2 + len(text.encode(errors="replace")) // BYTES_PER_TOKEN
