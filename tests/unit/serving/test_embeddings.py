"""POST /v1/embeddings: a real encoder behind the routes, asked by hand and by OpenAI's own client."""

import asyncio
import base64
from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.protocol import Encoder
from retrieval.config import IndexConfig
from retrieval.index import IndexMeta
from serving.admission import Admission
from serving.api import embeddings
from serving.api.errors import answer_errors
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService

MODEL = TransformerConfig()
TEXTS = ["Compute the inverse of a square matrix.", "Discrete Fourier transform of a signal.", "a b " * 200]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(MODEL)


def embedder_of_minilm() -> Embedder:
    """The service's embedder over the default model."""
    encoder = load_encoder(MODEL)
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
def api(encoder: Encoder) -> FastAPI:
    app = FastAPI()
    answer_errors(app)
    service = EmbeddingService(
        "minilm", encoder.dim, embedder_of_minilm(), EmbeddingLimits(8, 1000), Admission(5.0, 100_000)
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


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        ({"input": []}, 422, "input", "input is empty"),
        ({"input": ""}, 422, "input", "text 0 is blank"),
        ({"input": ["a", " \n"]}, 422, "input", "text 1 is blank"),
        ({"input": ["a"] * 9}, 422, "input", "9 texts at once; at most 8"),
        ({"input": ["a", "b" * 1001]}, 422, "input", "text 1 has 1,001 characters; at most 1,000"),
        ({"input": "a", "dimensions": 385}, 422, "dimensions", "from 1 to 384, got 385"),
        ({"input": "a", "dimensions": 0}, 422, "dimensions", "greater than or equal to 1"),
        ({"input": "a", "model": "ada"}, 404, "model", "there is no model 'ada'; this service has 'minilm'"),
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
