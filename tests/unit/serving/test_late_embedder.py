"""The service makes a question's token vectors by the encoder and the projection of the index."""

import asyncio
from pathlib import Path

import numpy as np

from data.embedding.config import TOKEN_PROJECTION
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.transformer.token_vectors import TokenEncoder
from data.vectors.projection import random_projection
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from serving.config import ServeConfig
from serving.embedder import Embedder

ENCODER = TransformerConfig(precision="fp32", device="cpu")


def test_questions_that_come_together_get_their_own_token_vectors(tmp_path: Path) -> None:
    encoder = load_encoder(ENCODER)
    projection = random_projection(encoder.fingerprint, encoder.dim, 8, seed=0)
    projection.save(tmp_path / TOKEN_PROJECTION)
    meta = IndexMeta(
        config=IndexConfig(),
        location="edge",
        points=1,
        dim=encoder.dim,
        encoder=encoder.fingerprint,
        precision="fp32",
        mean_length=1.0,
        filter_keys=(),
        late_dim=8,
        token_projection=tmp_path / TOKEN_PROJECTION,
    )
    embedder = Embedder(ENCODER, meta, ServeConfig())
    questions = ["moon", "the sea by night"]

    async def ask() -> list[np.ndarray]:
        return list(await asyncio.gather(*map(embedder.encode_tokens, questions)))

    passages = TokenEncoder(encoder, projection=projection).encode(questions).each()
    for given, known in zip(asyncio.run(embedder.embed_tokens(questions)), passages, strict=True):
        np.testing.assert_allclose(given, known, atol=1e-5)
    expected = TokenEncoder(encoder, projection=projection).encode_queries(questions).each()
    for given, known in zip(asyncio.run(ask()), expected, strict=True):
        assert given.shape == known.shape and given.shape[1] == 8
        np.testing.assert_allclose(given, known, atol=1e-5)
