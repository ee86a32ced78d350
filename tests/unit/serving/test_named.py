"""Models that requests name, over HTTP: real encoders and cross-encoders, loaded when they are asked for."""

import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from pydantic import ValidationError

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.errors import InputError
from ray_apps.config import RunConfig
from ray_apps.serve_checks import check_models
from retrieval.cross_encoder import CrossEncoderModel
from serving import model_cache
from serving.config import ServeConfig
from serving.named import LocalModels, NamedModels
from tests.tiny_model import cross_encoder, tiny_model
from tests.unit.serving.test_rerank import QUERY, TEXTS
from tests.unit.serving.whole_application import whole_application


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders and a cross-encoder, in folders of their own."""
    made = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("red", "blue")):
        tiny_model(made / name, seed)
    cross_encoder(made / "cross")
    return made


def config_of(folders: Path, loaded_models: int) -> ServeConfig:
    models: dict[str, Any] = {
        name: {"encoder": {"model": str(folders / name), "precision": "fp32"}} for name in ("red", "blue", "missing")
    }
    models["org/judge"] = {"ranker": str(folders / "cross")}
    return ServeConfig.model_validate({"models": models, "loaded_models": loaded_models, "max_texts": 100})


@pytest.fixture(params=[1, 3], ids=["one at a time", "all at once"])
def client(folders: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    config = config_of(folders, request.param)
    named = NamedModels(config, LocalModels(config))
    with TestClient(whole_application(tmp_path, named=named), raise_server_exceptions=False) as client:
        yield client


def loaded(client: TestClient) -> set[str]:
    """Of the named models those that the service says are loaded."""
    listed = client.get("/v1/models").json()["data"]
    assert {one["id"] for one in listed} == {"hashed", "red", "blue", "missing", "org/judge"}
    return {one["id"] for one in listed if one["loaded"]} - {"hashed"}


def test_a_model_is_described_by_its_name(client: TestClient) -> None:
    listed = {one["id"]: one for one in client.get("/v1/models").json()["data"]}
    for name in ("hashed", "red", "org/judge"):
        assert client.get(f"/v1/models/{name}").json() == listed[name]
    answer = client.get("/v1/models/green")
    assert answer.status_code == 404 and "red" in answer.json()["error"]["message"]


def test_each_request_gets_the_model_that_it_names(client: TestClient, folders: Path) -> None:
    assert loaded(client) == set()
    for name in ("red", "blue", "red"):
        encoder = load_encoder(read_encoder({"model": str(folders / name), "precision": "fp32"}))
        body = client.post("/v1/embeddings", json={"model": name, "input": TEXTS, "dimensions": 8}).json()
        assert body["model"] == name and body["usage"]["total_tokens"] > 20
        expected = encoder.encode(TEXTS)[:, :8]
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose([row["embedding"] for row in body["data"]], expected, atol=1e-4)
        assert name in loaded(client)
    cross = CrossEncoderModel(str(folders / "cross"), 512)
    answer = client.post("/v1/rerank", json={"model": "org/judge", "query": QUERY, "documents": TEXTS}).json()
    best = np.argsort([-logit for logit, _, _ in cross.score([(QUERY, text, None) for text in TEXTS])])
    assert answer["model"] == "org/judge" and [one["index"] for one in answer["results"]] == best.tolist()
    own = client.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS}).json()
    assert own["model"] == "hashed"
    assert client.post("/v1/embeddings", json={"input": "a"}).json()["model"] == "hashed"


def test_token_ids_and_timings_are_those_of_the_named_model(client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json={"model": "red", "input": [1037, 3793]})
    assert answer.status_code == 200 and "load;dur=" in answer.headers["server-timing"]
    assert "load" not in client.post("/v1/embeddings", json={"model": "red", "input": "a"}).headers["server-timing"]
    sparse = client.post("/v1/embeddings", json={"model": "red", "input": "a", "output": ["sparse"]})
    assert (sparse.status_code, sparse.json()["error"]["param"]) == (400, "output")
    wide = client.post("/v1/embeddings", json={"model": "red", "input": "a", "dimensions": 17})
    assert wide.json()["error"]["message"] == "dimensions must be from 1 to 16, got 17"


@pytest.mark.parametrize(
    ("path", "model", "message"),
    [
        ("/v1/embeddings", "rad", "there is no model 'rad' that makes vectors; did you mean 'red'?"),
        ("/v1/embeddings", "org/judge", "there is no model 'org/judge' that makes vectors; allowed: blue, hashed"),
        ("/v1/rerank", "red", "there is no model 'red' that reranks; allowed: hashed, org/judge"),
    ],
)
def test_what_is_not_there_is_named(client: TestClient, path: str, model: str, message: str) -> None:
    body = {"model": model, "input": "a"} if path == "/v1/embeddings" else {"model": model, "query": "a"}
    answer = client.post(path, json=body if "input" in body else {**body, "documents": ["b"]})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (404, "model") and error["message"].startswith(message)
    assert loaded(client) == set()


def test_a_model_that_cannot_be_loaded_is_a_503_until_it_can(
    client: TestClient, folders: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "AGAIN_AFTER_S", 0.0)
    with caplog.at_level(logging.ERROR, logger="catena"):
        answer = client.post("/v1/embeddings", json={"model": "missing", "input": "a"})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (503, "unavailable", "model_not_loaded")
    assert error["message"] == "the model 'missing' cannot be loaded; the reason is in the log"
    assert answer.headers["retry-after"] == "2" and "models: missing cannot be loaded" in caplog.text
    (folders / "missing").symlink_to(folders / "blue")
    try:
        assert client.post("/v1/embeddings", json={"model": "missing", "input": "a"}).status_code == 200
    finally:
        (folders / "missing").unlink()


def test_what_is_given_back_leaves_memory(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    config = config_of(folders, 1)
    host = LocalModels(config)
    load = host._cache._load

    def noted(name: str) -> Any:  # noqa: ANN401 - either kind of model
        model = load(name)
        ranks = name == "org/judge"
        made.append(weakref.ref(model._model if ranks else model._loaded().loaded.batches.model.transformer))
        return model

    monkeypatch.setattr(host._cache, "_load", noted)
    with TestClient(whole_application(tmp_path, named=NamedModels(config, host))) as client:
        for name in ("red", "blue"):
            assert client.post("/v1/embeddings", json={"model": name, "input": TEXTS}).status_code == 200
        asked = {"model": "org/judge", "query": QUERY, "documents": TEXTS}
        assert client.post("/v1/rerank", json=asked).status_code == 200
        assert client.post("/v1/embeddings", json={"model": "red", "input": TEXTS}).status_code == 200
    assert [one() is None for one in made] == [True, True, True, False]


def test_a_ranker_that_scores_otherwise_than_it_should_is_refused(folders: Path) -> None:
    model = CrossEncoderModel(str(folders / "cross"), 512, "serve.models.judge.ranker")
    model.check()
    with torch.no_grad():
        model._model.classifier.weight.mul_(float("nan"))
    with pytest.raises(
        InputError, match=r"serve\.models\.judge\.ranker: cross gives 8 of 8 sample pairs a score that is no"
    ):
        model.check()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"a": {}}, "give either `encoder` or `ranker`"),
        ({"a": {"ranker": "x", "encoder": {"hashed": {}}}}, "give either `encoder` or `ranker`"),
        ({"a b": {"ranker": "x"}}, "should match pattern"),
    ],
)
def test_models_are_one_thing_under_a_plain_name(models: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServeConfig.model_validate({"models": models})


@pytest.mark.parametrize("which", ["champ", "0", 0, -1, 1.5, True, ""])
def test_a_link_model_is_an_alias_or_a_version(which: object) -> None:
    assert ServeConfig.model_validate({"link_model": "12"}).link_model == 12
    assert ServeConfig.model_validate({"link_model": "champion"}).link_model == "champion"
    with pytest.raises(ValidationError, match="champion, challenger or the number of a version"):
        ServeConfig.model_validate({"link_model": which})


def test_names_that_are_taken_and_folders_that_are_not_there_are_told_before_anything_starts(folders: Path) -> None:
    def run(**serve: Any) -> RunConfig:  # noqa: ANN401 - of ServeConfig
        files = {"documents": {"path": "documents.jsonl"}}
        return RunConfig.model_validate(
            {"name": "r", "source": {"files": files}, "encoder": {"model": str(folders / "red")}, "serve": serve}
        )

    blue = {"encoder": {"model": str(folders / "blue")}}
    check_models(run(models={"blue": blue, "org/judge": {"ranker": "x"}}, ranker="cross"))
    with pytest.raises(InputError, match=r"serve\.models: red is the name of the run's own encoder"):
        check_models(run(models={"red": blue}))
    with pytest.raises(InputError, match=r"serve\.models: cross is the name of the run's own serve\.ranker"):
        check_models(run(models={"cross": blue}, ranker="some/cross"))
    with pytest.raises(InputError, match=r"serve\.models\.green: encoder\.hashed\.idf"):
        check_models(run(models={"green": {"encoder": {"hashed": {"idf": str(folders / "none")}}}}))


def test_a_queue_is_as_long_as_its_replicas_are_many() -> None:
    models = {"a": {"encoder": {"hashed": {}}}, "b": {"ranker": "x"}}
    sizes = {"replicas": 2, "ranker_replicas": 3, "max_batch_tokens": 100}
    for layout, full in (("compact", {"a": 100, "b": 100}), ("spread", {"a": 200, "b": 300})):
        named = NamedModels(ServeConfig.model_validate({"models": models, "layout": layout, **sizes}))
        assert {name: admission.full for name, admission in named.admissions.items()} == full
