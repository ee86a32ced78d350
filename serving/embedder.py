"""The model behind the service."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.coalescing import Coalescer
from data.encoders import EncoderConfig
from data.index import read_meta
from data.retrieval import query_encoder, query_tokens


class Embedder:
    """Turns queries to vectors; those that arrive together are encoded as one batch.

    Args:
        config: which model; it is loaded here, once.
        artifact: the index that will be asked.
        max_batch: most queries in a batch.

    Raises:
        InputError: if the index holds vectors of another encoder.
    """

    def __init__(self, config: EncoderConfig, artifact: Path, max_batch: int) -> None:
        meta = read_meta(artifact)
        self._encoder = query_encoder(meta, config)
        self._token_encoder = query_tokens(artifact, meta, self._encoder)
        self._encode = Coalescer[str, npt.NDArray[np.float32]](self._encode_batch, max_batch)
        self._encode_tokens = Coalescer[str, npt.NDArray[np.float32]](self._token_batch, max_batch)

    async def encode(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vector of one text, float32 (dim,)."""
        return await self._encode(text)

    async def encode_tokens(self, text: str) -> npt.NDArray[np.float32]:
        """The unit vectors of one text's tokens, float32 (tokens, late_dim); for an index that holds such."""
        return await self._encode_tokens(text)

    def _encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        return list(self._encoder.encode(texts))

    def _token_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        assert self._token_encoder is not None, "the ingress refuses mode late without token vectors"
        return self._token_encoder.encode(texts).each()
