"""Token vectors are the transformer's own, whatever the other texts of its batch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from data.encoders import load_encoder
from data.encoders.config import (
    EncoderConfig,
    EndpointConfig,
    EndpointEncoderConfig,
    HashedConfig,
    HashedEncoderConfig,
    OnnxConfig,
    PluginConfig,
    TransformerConfig,
    read_encoder,
)
from data.encoders.transformer.models import open_model
from data.encoders.transformer.token_vectors import TokenEncoder, refuse_without_tokens
from data.errors import InputError
from data.vectors.projection import random_projection

TEXTS = ["the inverse of a sparse matrix", "", "moon " * 400, "בראשית ברא", "x"]
MINILM = TransformerConfig(precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def encoder() -> TokenEncoder:
    return TokenEncoder(load_encoder(MINILM, batch_tokens=600, threads=2))


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


def test_a_projection_is_applied_and_is_the_encoders_own(encoder: TokenEncoder) -> None:
    projection = random_projection(encoder._encoder.fingerprint, 384, 5, seed=0)
    cut = TokenEncoder(encoder._encoder, projection=projection)
    assert np.array_equal(cut.encode(TEXTS).vectors, projection(encoder.encode(TEXTS).vectors))
    assert cut.encode([]).vectors.shape == (0, 5)
    with pytest.raises(InputError, match="were made by the encoder other"):
        TokenEncoder(encoder._encoder, projection=random_projection("other", 384, 5, seed=0))


def test_no_texts_have_no_tokens(encoder: TokenEncoder) -> None:
    made = encoder.encode([])
    assert made.each() == [] and made.starts.tolist() == [0]


def test_the_prompt_is_read_and_its_tokens_are_left_out(tiny: Callable[..., Path]) -> None:
    folder = tiny(prompts={"query": "query : ", "document": ""})
    tokens = TokenEncoder(load_encoder(TransformerConfig(model=str(folder), precision="fp32", device="cpu")))
    plain, asked = tokens.encode(["alpha beta"]), tokens.encode_queries(["alpha beta"])
    whole = tokens._encoder.states(tokens._encoder.batches.tokenise(["query : alpha beta"]).numbers)[0]
    expected = torch.nn.functional.normalize(whole, dim=1).detach().numpy()[3:5]  # behind [CLS] query :
    np.testing.assert_allclose(asked.vectors, expected, atol=1e-5)
    assert plain.vectors.shape == asked.vectors.shape and not np.allclose(plain.vectors, asked.vectors, atol=1e-2)


def test_numbers_that_are_not_finite_name_their_text(tiny: Callable[..., Path]) -> None:
    tokens = TokenEncoder(load_encoder(TransformerConfig(model=str(tiny()), precision="fp32", device="cpu")))
    with torch.no_grad():
        next(tokens._encoder.model.transformer.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="not finite for 1 of a batch of 1 texts: 0; text 0 begins 'moon'"):
        tokens.encode(["moon"])


def test_memory_that_runs_out_is_counted(encoder: TokenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, plain = encoder.encode(TEXTS), encoder._encoder.states

    def tight(tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        if len(tokens) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(tokens)

    monkeypatch.setattr(encoder._encoder, "states", tight)
    halved = encoder.encode(TEXTS)
    assert whole.oom_retries == 0 and halved.oom_retries > 0
    np.testing.assert_allclose(halved.vectors, whole.vectors, atol=1e-5)


HASHED = HashedEncoderConfig(hashed=HashedConfig(dim=64))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (HASHED, r"encoder.hashed: hashed TF-IDF \(64 dimensions\)"),
        (
            EndpointEncoderConfig(endpoint=EndpointConfig(base_url="http://x/v1", model="m")),
            "encoder.endpoint: m at http://x",
        ),
        (read_encoder({"ensemble": {"members": [{}, HASHED]}}), "encoder.ensemble: concatenation of"),
        (OnnxConfig(), "encoder.backend: onnx"),
        (read_encoder({"fallback": [{"device": "cpu"}, {"hashed": {}}]}), "encoder.fallback.1.hashed"),
    ],
)
def test_an_encoder_without_tokens_is_refused_before_it_is_loaded(config: EncoderConfig, named: str) -> None:
    with pytest.raises(InputError, match=named + ".*not those of its tokens") as raised:
        refuse_without_tokens(config)
    assert "sentence-transformers model in encoder.model" in raised.value.remedy


def test_an_encoder_of_ones_own_is_refused_when_it_is_loaded() -> None:
    own = PluginConfig(model="benchmarks.embed.stub_encoder:load")
    refuse_without_tokens(own)
    with pytest.raises(InputError, match="gives a text's vector but not those of its tokens"):
        TokenEncoder(load_encoder(own))
