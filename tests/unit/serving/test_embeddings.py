"""POST /v1/embeddings: a real encoder behind the routes, asked by hand and by OpenAI's own client."""

import asyncio
import base64
from collections.abc import Iterator
from functools import cache

import httpx
import numpy as np
import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Encoded, Encoder
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.token_vectors import TokenEncoder
from data.errors import InputError
from data.lexical import BM25, Tokenizer
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from serving.admission import Admission
from serving.api import embeddings
from serving.api.errors import answer_errors
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService, TokenRows

MODEL = TransformerConfig()
WEIGHTS = BM25(Tokenizer("english"), mean_length=5.0)
TEXTS = ["Compute the inverse of a square matrix.", "Discrete Fourier transform of a signal.", "a b " * 200]


@cache
def minilm() -> Encoder:
    """The default model, loaded once for all tests of this process."""
    return load_encoder(MODEL)


@pytest.fixture
def encoder() -> Encoder:
    return minilm()


def embedder_of_minilm() -> Embedder:
    """The service's embedder over the default model."""
    encoder = minilm()
    meta = IndexMeta(
        config=IndexConfig(),
        location="edge",
        points=1,
        dim=encoder.dim,
        encoder=encoder.fingerprint,
        precision=encoder.precision,
        mean_length=1.0,
        filter_keys=(),
    )
    return Embedder(MODEL, meta, ServeConfig())


@pytest.fixture(scope="module")
def api() -> FastAPI:
    app = FastAPI()
    answer_errors(app)
    service = EmbeddingService(
        "minilm", minilm().dim, embedder_of_minilm(), EmbeddingLimits(8, 1000), Admission(5.0, 100_000), WEIGHTS
    )
    app.include_router(embeddings.router(service))
    return app


@pytest.fixture
def client(api: FastAPI) -> Iterator[TestClient]:
    with TestClient(api) as client:
        yield client


def test_vectors_are_those_of_the_encoder_and_tokens_are_counted(client: TestClient, encoder: Encoder) -> None:
    body = client.post("/v1/embeddings", json={"input": TEXTS, "model": "minilm"}).json()
    expected = encoder.encode_counted(TEXTS)
    assert [row["index"] for row in body["data"]] == [0, 1, 2] and body["model"] == "minilm"
    found = np.array([row["embedding"] for row in body["data"]])
    np.testing.assert_allclose(found, expected.vectors, atol=2e-3)
    assert body["usage"] == dict.fromkeys(("prompt_tokens", "total_tokens"), int(expected.tokens.sum()))


def test_base64_and_bytes_hold_the_same_vectors(client: TestClient) -> None:
    plain = client.post("/v1/embeddings", json={"input": TEXTS[0]}).json()
    numbers = np.array(plain["data"][0]["embedding"], np.float32)
    coded = client.post("/v1/embeddings", json={"input": TEXTS[0], "encoding_format": "base64"}).json()
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4"), numbers)
    packed = client.post("/v1/embeddings", json={"input": TEXTS[:2]}, headers={"accept": "application/octet-stream"})
    assert (packed.headers["x-shape"], packed.headers["x-dtype"]) == ("2,384", "float16")
    rows = np.frombuffer(packed.content, "<f2").reshape(2, 384)
    np.testing.assert_allclose(rows[0], numbers, atol=1e-3)
    assert int(packed.headers["x-prompt-tokens"]) > 10


def test_fewer_dimensions_are_cut_first_and_then_of_unit_length(client: TestClient) -> None:
    whole = np.array(client.post("/v1/embeddings", json={"input": TEXTS[0]}).json()["data"][0]["embedding"])
    short = client.post("/v1/embeddings", json={"input": TEXTS[0], "dimensions": 64}).json()["data"][0]["embedding"]
    np.testing.assert_allclose(short, whole[:64] / np.linalg.norm(whole[:64]), atol=2e-3)
    assert np.linalg.norm(short) == pytest.approx(1, abs=1e-6)


def test_token_ids_stand_for_their_text(client: TestClient, encoder: Encoder) -> None:
    assert isinstance(encoder, SentenceEncoder)
    numbers = encoder.batches.tokenise(TEXTS[:2]).numbers  # with the special ones, which are the model's to put
    expected = client.post("/v1/embeddings", json={"input": TEXTS[:2]}).json()
    found = client.post("/v1/embeddings", json={"input": numbers}).json()
    assert found["usage"] == expected["usage"]
    for given, known in zip(found["data"], expected["data"], strict=True):
        np.testing.assert_allclose(given["embedding"], known["embedding"], atol=2e-3)
    (alone,) = client.post("/v1/embeddings", json={"input": numbers[1][1:-1]}).json()["data"]
    np.testing.assert_allclose(alone["embedding"], expected["data"][1]["embedding"], atol=2e-3)


@pytest.mark.parametrize("kind", ["document", "query"])
def test_weights_of_terms_are_those_of_the_index_and_the_model_is_not_asked(client: TestClient, kind: str) -> None:
    asked = {"input": TEXTS, "output": ["sparse"], "input_type": kind}
    body = client.post("/v1/embeddings", json=asked).json()
    assert body["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    for row, text in zip(body["data"], TEXTS, strict=True):
        known = WEIGHTS.passage(text) if kind == "document" else WEIGHTS.query(text)
        assert "embedding" not in row and "tokens" not in row
        assert row["sparse"]["indices"] == known.indices.tolist()
        np.testing.assert_allclose(row["sparse"]["values"], known.values)


def test_vectors_of_tokens_are_those_of_late_interaction(client: TestClient, encoder: Encoder) -> None:
    asked = {"input": TEXTS, "output": ["tokens", "dense"]}
    body = client.post("/v1/embeddings", json=asked).json()
    coded = client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json()
    assert body["usage"]["prompt_tokens"] == int(encoder.encode_counted(TEXTS).tokens.sum())
    for row, packed, known in zip(body["data"], coded["data"], TokenEncoder(encoder).encode(TEXTS).each(), strict=True):
        found = np.array(row["tokens"])
        assert found.shape == known.shape and len(row["embedding"]) == encoder.dim
        np.testing.assert_allclose(np.sum(found * known, 1), 1, atol=1e-2)  # bf16, and another padding
        decoded = np.array([np.frombuffer(base64.b64decode(one), "<f4") for one in packed["tokens"]])
        np.testing.assert_allclose(np.sum(decoded * found, 1), 1, atol=1e-2)


def test_what_the_encoder_has_not_is_refused() -> None:
    class Hashed:
        async def decode(self, ids: list[list[int]]) -> list[str]:
            raise InputError("no tokenizer", "Send texts.")

        async def embed_tokens(self, texts: list[str], kind: str) -> list[TokenRows]:
            raise InputError("no vectors of tokens", "Ask for `dense`.")

        async def embed(self, texts: list[str], kind: str) -> Encoded:
            raise AssertionError("not asked")

    app = FastAPI()
    answer_errors(app)
    service = EmbeddingService("hashed", 8, Hashed(), EmbeddingLimits(8, 1000), Admission(5.0, 100_000))
    app.include_router(embeddings.router(service))
    with TestClient(app) as client:
        for body, param, message in (
            ({"input": [1, 2]}, "input", "no tokenizer; Send texts."),
            ({"input": "a", "output": ["dense", "tokens"]}, "output", "no vectors of tokens"),
            ({"input": "a", "output": ["sparse"]}, "output", "there is no index"),
        ):
            answer = client.post("/v1/embeddings", json=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["param"]) == (400, "bad_request", param)
            assert message in error["message"]


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        ({"input": [5, 10**9]}, 400, "input", "list 0 of token ids has 1000000000, the model's are from 0 to 30,521"),
        ({"input": [[5], [-1]]}, 422, "input", "greater than or equal to 0"),
        ({"input": [[101, 102]]}, 422, "input", "text 0 is blank"),
        ({"input": [[]]}, 422, "input", "text 0 is blank"),
        ({"input": [True, 1]}, 422, "input", "valid string"),
        ({"input": [[5]] * 9}, 422, "input", "9 texts at once"),
        ({"input": [5] * 1001}, 422, "input", "1,001 token ids; at most 1,000"),
        ({"input": ["a"], "output": []}, 422, "output", "at least 1 item"),
        ({"input": ["a"], "output": ["image"]}, 422, "output", "'dense', 'sparse' or 'tokens'"),
        ({"input": []}, 422, "input", "input is empty"),
        ({"input": ""}, 422, "input", "text 0 is blank"),
        ({"input": ["a", " \n"]}, 422, "input", "text 1 is blank"),
        ({"input": ["a"] * 9}, 422, "input", "9 texts at once; at most 8"),
        ({"input": ["a", "b" * 1001]}, 422, "input", "text 1 has 1,001 characters; at most 1,000"),
        ({"input": "a", "dimensions": 385}, 422, "dimensions", "from 1 to 384, got 385"),
        ({"input": "a", "dimensions": 0}, 422, "dimensions", "greater than or equal to 1"),
        ({"input": "a", "model": "ada"}, 404, "model", "there is no model 'ada' that makes vectors; allowed: minilm"),
        ({"input": 5}, 422, "input", "valid string"),
        ({"input": {"a": 1}}, 422, "input", "valid string"),
        ({"input": "a", "encoding_format": "int8"}, 422, "encoding_format", "'float' or 'base64'"),
        ({}, 422, "input", "Field required"),
    ],
)
def test_what_cannot_be_embedded_is_named(
    client: TestClient, body: object, status: int, param: str, message: str
) -> None:
    answer = client.post("/v1/embeddings", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert message in error["message"]


def test_bytes_hold_dense_vectors_alone(client: TestClient) -> None:
    asked = {"input": "a", "output": ["sparse"]}
    answer = client.post("/v1/embeddings", json=asked, headers={"accept": "application/octet-stream"})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "output"


def test_the_client_of_openai_works(api: FastAPI, encoder: Encoder) -> None:
    async def ask() -> tuple[np.ndarray, str]:
        transport = httpx.AsyncClient(transport=httpx.ASGITransport(api))
        async with openai.AsyncOpenAI(base_url="http://catena/v1", api_key="none", http_client=transport) as client:
            made = await client.embeddings.create(model="minilm", input=TEXTS, dimensions=128)
            with pytest.raises(openai.NotFoundError) as raised:
                await client.embeddings.create(model="ada", input="a")
            assert made.usage.prompt_tokens > 10
            return np.array([row.embedding for row in made.data]), str(raised.value)

    found, refused = asyncio.run(ask())
    expected = encoder.encode(TEXTS)[:, :128]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=3e-3)
    assert "there is no model 'ada'" in refused


def test_many_callers_each_get_their_own_vectors(api: FastAPI, encoder: Encoder) -> None:
    texts = [f"the number {number} " * (1 + number % 5) for number in range(60)]

    async def ask() -> list[list[float]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://catena") as client:
            kinds = ("document", "query")
            asked = [
                client.post("/v1/embeddings", json={"input": text, "input_type": kinds[number % 2]})
                for number, text in enumerate(texts)
            ]
            return [answer.json()["data"][0]["embedding"] for answer in await asyncio.gather(*asked)]

    cosines = (np.array(asyncio.run(ask())) * encoder.encode(texts)).sum(1)
    assert cosines.min() > 0.999
