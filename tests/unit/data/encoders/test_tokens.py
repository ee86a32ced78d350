"""Token vectors are the transformer's own, whatever stands beside a text in its batch."""

import numpy as np
import pytest
import torch

from data.encoders import EncoderConfig, load_encoder
from data.encoders.models import open_model
from data.encoders.tokens import TokenEncoder
from data.errors import InputError

TEXTS = ["the inverse of a sparse matrix", "", "moon " * 400, "בראשית ברא", "x"]


@pytest.fixture(scope="module")
def encoder() -> TokenEncoder:
    loaded = load_encoder(EncoderConfig(precision="fp32", device="cpu"), batch_tokens=600, threads=2)
    return TokenEncoder(loaded)


def test_token_vectors_are_those_of_sentence_transformers(encoder: TokenEncoder) -> None:
    peer = open_model("all-MiniLM-L6-v2", "cpu", None)
    made = encoder.encode(TEXTS)
    assert made.vectors.dtype == np.float32 and made.starts[0] == 0 and made.starts[-1] == len(made.vectors)
    for text, vectors in zip(TEXTS, made.each(), strict=True):
        expected = torch.nn.functional.normalize(peer.encode(text, output_value="token_embeddings"), dim=1).numpy()
        expected = expected[1:-1] if text else expected  # [CLS] and [SEP], all that an empty text has
        assert vectors.shape == expected.shape
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_tokens_beyond_the_limit_are_left_out(encoder: TokenEncoder) -> None:
    few = TokenEncoder(encoder._encoder, max_tokens=3).encode(TEXTS)
    assert np.diff(few.starts).tolist() == [min(3, n) for n in np.diff(encoder.encode(TEXTS).starts)]
    np.testing.assert_allclose(few.each()[2], encoder.encode(TEXTS).each()[2][:3], atol=1e-5)


def test_a_projection_is_applied(encoder: TokenEncoder) -> None:
    cut = TokenEncoder(encoder._encoder, project=lambda vectors: vectors[:, :5])
    assert np.array_equal(cut.encode(TEXTS).vectors, encoder.encode(TEXTS).vectors[:, :5])


def test_no_texts_have_no_tokens(encoder: TokenEncoder) -> None:
    made = encoder.encode([])
    assert made.each() == [] and made.starts.tolist() == [0]


def test_numbers_that_are_not_finite_name_their_batch() -> None:
    broken = load_encoder(EncoderConfig(precision="fp32", device="cpu"), threads=1)
    tokens = TokenEncoder(broken)
    with torch.no_grad():
        next(tokens._encoder._transformer.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="1 texts that begins with 'moon'"):
        tokens.encode(["moon"])


def test_an_encoder_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="gives a text's vector but not those of its tokens"):
        TokenEncoder(load_encoder(EncoderConfig(model="benchmarks.stub_encoder:load")))
