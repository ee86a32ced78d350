"""Reranking: by a cross-encoder and by the encoder, over HTTP, in each of the forms that clients speak."""

import asyncio
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from data.errors import InputError
from retrieval.blend import Blend, Curve
from retrieval.cross_encoder import CrossEncoderModel
from serving.admission import Admission
from serving.api import rerank
from serving.api.errors import answer_errors
from serving.embedding import EmbeddingLimits, first_tokens
from serving.ranking import CrossEncoderRanker, EncoderRanker, Ranker, RankingService
from tests.tiny_model import cross_encoder
from tests.unit.serving.test_embeddings import embedder_of_minilm

TEXTS = ["Discrete Fourier transform of a signal.", "Compute the inverse of a square matrix.", "Names of columns."]
QUERY = "how do I invert a matrix"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("cross") / "tiny-cross")


@pytest.fixture(scope="module")
def model(folder: Path) -> CrossEncoderModel:
    return CrossEncoderModel(str(folder), 512)


def served(ranker: Ranker) -> TestClient:
    api = FastAPI()
    answer_errors(api)
    api.include_router(rerank.router(RankingService(ranker, EmbeddingLimits(64, 5000), Admission(5.0, 100_000))))
    return TestClient(api)


@pytest.fixture(scope="module")
def client(model: CrossEncoderModel) -> TestClient:
    return served(CrossEncoderRanker(model, 512, 0.05, 30.0))


def test_logits_are_those_of_sentence_transformers(folder: Path, model: CrossEncoderModel) -> None:
    from sentence_transformers import CrossEncoder

    pairs = [(QUERY, text) for text in [*TEXTS, "a", "b c " * 9]]
    theirs = CrossEncoder(str(folder)).predict(pairs, activation_fn=torch.nn.Identity())
    ours = [logit for logit, _, _ in model.score([(*pair, None) for pair in pairs])]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_document_alone_is_cut_and_a_cut_is_told(client: TestClient, model: CrossEncoderModel) -> None:
    long = "matrix " * 200
    results = client.post("/v1/rerank", json={"query": QUERY, "documents": [long, "short"]}).json()["results"]
    assert {one["index"]: one["truncated"] for one in results} == {0: True, 1: False}
    whole, cut = (model.score([(QUERY, text, 5)])[0] for text in ("matrix " * 5, long))
    assert whole[0] == pytest.approx(cut[0], abs=1e-5) and (whole[1], cut[1]) == (False, True)
    asked = {"query": QUERY, "documents": ["matrix " * 20], "max_tokens_per_doc": 3}
    assert client.post("/v2/rerank", json=asked).json()["results"][0]["truncated"]


def test_a_question_is_refused_rather_than_cut(client: TestClient) -> None:
    answer = client.post("/v1/rerank", json={"query": "matrix " * 40, "documents": ["a", "b"]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, "query") and "the question has 40 tokens" in error["message"]


def test_documents_come_best_first_with_what_was_asked_for(client: TestClient, model: CrossEncoderModel) -> None:
    documents = [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]]
    body = client.post(
        "/v1/rerank", json={"query": QUERY, "documents": documents, "top_n": 2, "return_documents": True}
    ).json()
    logits = [logit for logit, _, _ in model.score([(QUERY, text, None) for text in TEXTS])]
    best = np.argsort(logits)[::-1][:2]
    assert [one["index"] for one in body["results"]] == best.tolist()
    assert [one["document"]["text"] for one in body["results"]] == [TEXTS[place] for place in best]
    assert body["results"][0]["relevance_score"] == pytest.approx(1 / (1 + np.exp(-max(logits))), abs=1e-5)
    assert body["model"] == "tiny-cross" and body["usage"]["total_tokens"] > 20


def test_the_form_of_text_embeddings_inference(client: TestClient) -> None:
    asked = {"query": QUERY, "texts": TEXTS, "return_text": True}
    scaled = client.post("/rerank", json=asked).json()
    raw = client.post("/rerank", json={**asked, "raw_scores": True}).json()
    assert [one["index"] for one in scaled] == [one["index"] for one in raw]
    assert [one["score"] for one in scaled] == pytest.approx([1 / (1 + np.exp(-one["score"])) for one in raw], abs=1e-6)
    assert scaled[0]["text"] == TEXTS[scaled[0]["index"]]
    refused = client.post("/rerank", json={"query": QUERY, "texts": ["a", "b " * 100], "truncate": False})
    assert refused.status_code == 422 and "text 1 is longer" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"query": "", "documents": ["a"]}, 422, "query"),
        ({"query": "a", "documents": []}, 422, "documents"),
        ({"query": "a", "documents": ["b", " "]}, 422, "documents"),
        ({"query": "a", "documents": ["b"] * 65}, 422, "documents"),
        ({"query": "a", "documents": ["b"], "top_n": 0}, 422, "top_n"),
        ({"query": "a", "documents": ["b"], "model": "rerank-english"}, 404, "model"),
        ({"query": "a", "documents": [{"txt": "b"}]}, 422, "documents"),
    ],
)
def test_what_cannot_be_ranked_is_named(client: TestClient, body: object, status: int, param: str) -> None:
    answer = client.post("/v1/rerank", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_many_requests_share_batches_and_keep_their_answers(client: TestClient, model: CrossEncoderModel) -> None:
    async def ask() -> list[list[float]]:
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://catena") as http:
            bodies = [{"query": f"{QUERY} {number}", "texts": TEXTS, "raw_scores": True} for number in range(20)]
            answers = await asyncio.gather(*(http.post("/rerank", json=body) for body in bodies))
        return [[one["score"] for one in sorted(answer.json(), key=lambda one: one["index"])] for answer in answers]

    found = asyncio.run(ask())
    expected = [
        [logit for logit, _, _ in model.score([(f"{QUERY} {number}", text, None) for text in TEXTS])]
        for number in range(20)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_a_cross_encoder_the_encoder_ranks() -> None:
    client = served(EncoderRanker("minilm", embedder_of_minilm(), 256))
    body = client.post("/v1/rerank", json={"query": QUERY, "documents": [*TEXTS, "matrix " * 700]}).json()
    assert body["results"][0]["index"] in (1, 3) and body["model"] == "minilm"
    assert {one["index"]: one["truncated"] for one in body["results"]} == {0: False, 1: False, 2: False, 3: True}
    assert all(0 <= one["relevance_score"] <= 1 for one in body["results"])
    answer = client.post("/v1/rerank", json={"query": "matrix " * 600, "documents": TEXTS})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "query")


@pytest.mark.parametrize(
    ("text", "most", "kept"), [("abcd" * 10, 5, 20), ("日本語" * 10, 5, 6), ("日", 1, 1), ("ab", 9, 2)]
)
def test_texts_are_cut_by_their_bytes_and_never_in_a_character(text: str, most: int, kept: int) -> None:
    assert first_tokens(text, most) == text[:kept]


def test_what_is_no_cross_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"serve\.ranker: .* cannot be opened"):
        CrossEncoderModel(str(tmp_path / "nothing"), 512)


def test_what_search_has_found_is_ranked_with_its_order_and_by_a_curve_of_its_own(folder: Path, tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(folder, trained)
    blend = Blend(weight=100.0, alone=Curve(2.0, -1.0), after=Curve(0.01, 0.0))
    blend.save(trained)
    model = CrossEncoderModel(str(trained), 512)
    service = RankingService(
        CrossEncoderRanker(model, 512, 0.05, 30.0), EmbeddingLimits(64, 5000), Admission(5.0, 100_000)
    )
    logits = np.array([logit for logit, _, _ in model.score([(QUERY, text, None) for text in TEXTS])])

    async def ranked(found: bool) -> dict[int, float]:
        texts, _ = await service.rank(QUERY, TEXTS, None, "documents", found)
        return {one.place: one.relevance for one in texts}

    alone, after = asyncio.run(ranked(False)), asyncio.run(ranked(True))
    assert list(alone) == np.argsort(-logits).tolist() and list(after) == [0, 1, 2]  # such a weight changes nothing
    assert [alone[n] for n in range(3)] == pytest.approx(1 / (1 + np.exp(1 - 2 * logits)), abs=1e-5)
    assert after[1] == pytest.approx(1 / (1 + np.exp(-0.01 * (logits[1] - 100 * np.log(2)))), abs=1e-5)


def test_a_model_that_gives_no_number_is_refused_at_load_and_unavailable_later(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = load_file(broken / "model.safetensors")
    weights["classifier.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    model = CrossEncoderModel(str(broken), 512)
    with pytest.raises(InputError, match=r"serve\.ranker: broken gives 8 of 8 sample pairs a score that is no finite"):
        model.check()
    answer = served(CrossEncoderRanker(model, 512, 0.05, 30.0)).post(
        "/v1/rerank", json={"query": QUERY, "documents": TEXTS}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (503, "unavailable")
    assert "the cross-encoder broken gives 3 of 3 pairs a score that is no finite number" in error["message"]
