"""Texts that make one piece are divided among the cores, and have the vectors that they have alone."""

import numpy as np
import pytest

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Vectors
from data.encoders.transformer.batches import BATCHES_OF_A_CORE, SMALLEST_SHARE
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.memory import Tokens

MINILM = TransformerConfig(precision="fp32")
TEXTS = [f"question {number} about " + "a matrix and its inverse " * (number % 7) for number in range(96)]


@pytest.mark.parametrize(("threads", "texts", "batches"), [(1, 96, 1), (2, 96, 4), (4, 96, 8), (2, 4, 1)])
def test_every_core_has_batches(threads: int, texts: int, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(MINILM, batch_tokens=8192, threads=threads)
    assert isinstance(encoder, SentenceEncoder)
    whole, sizes = encoder.encode_here(TEXTS[:texts]), list[int]()
    forward = encoder.batches.forward

    def counted(tokens: Tokens, prompt_tokens: int = 0) -> Vectors:
        sizes.append(sum(map(len, tokens)))
        return forward(tokens, prompt_tokens)

    monkeypatch.setattr(encoder.batches, "forward", counted)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS[:texts]), whole, atol=1e-5)
    assert len(sizes) >= batches
    assert batches == 1 or max(sizes) <= max(SMALLEST_SHARE, -(-sum(sizes) // (BATCHES_OF_A_CORE * threads)))
