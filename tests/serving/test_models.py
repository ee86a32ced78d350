"""Models by name, rankers of their own and another link model, in a service that runs, in both layouts."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from ray_apps.serve import release_of, service_of
from serving.client import Client, ServiceError
from serving.cross_encoder import CrossEncoderModel
from serving.listener import Listener
from serving.traffic import Release, change_traffic, with_live
from tests.services import planned, run_of
from tests.tiny_model import tiny_model
from tests.unit.serving.test_rerank import QUERY, TEXTS, cross_encoder
from tests.unit.serving.whole_application import link_model

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = 18_326
URL = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders and two cross-encoders, in folders of their own."""
    made = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("red", "blue")):
        tiny_model(made / name, seed)
        cross_encoder(made / f"cross-{name}", seed)
    return made


@pytest.fixture(scope="module", params=["compact", "spread"])
def service(
    request: pytest.FixtureRequest, cluster: None, folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Release]]:
    """A service that runs: its file of releases, and the live one, which has a link model."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    models: dict[str, Any] = {
        name: {"encoder": {"model": str(folders / name), "precision": "fp32"}} for name in ("red", "blue", "gone")
    }
    models["judge"] = {"ranker": str(folders / "cross-blue")}
    run = run_of(tmp_path_factory.mktemp("named"), "named", layout=request.param, ranker=str(folders / "cross-red"))
    plan = planned({**run, "serve": {**run["serve"], "models": models, "loaded_models": 1, "live_documents": 0}})
    service = service_of(plan)
    live = release_of(plan).model_copy(update={"id": "first", "links": link_model()[1]})
    change_traffic(service.traffic, lambda traffic: with_live(None, live))
    if request.param == "compact":
        with Listener("127.0.0.1", PORT) as listener:
            serve.run(build(service.model_copy(update={"listener": listener.path})), name="named")
            yield service.traffic, live
            serve.shutdown()
        return
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service), name="named")
    yield service.traffic, live
    serve.shutdown()


def test_models_are_loaded_as_they_are_asked_for(service: tuple[Path, Release], folders: Path) -> None:
    with Client(URL) as client:
        for name in ("red", "blue", "red"):
            encoder = load_encoder(read_encoder({"model": str(folders / name), "precision": "fp32"}))
            np.testing.assert_allclose(client.embed(TEXTS, model=name), encoder.encode(TEXTS), atol=2e-3)
        loaded = {model.id for model in client.models().data if model.loaded}
        assert "red" in loaded and "blue" not in loaded
        with pytest.raises(ServiceError, match="did you mean 'blue'"):
            client.embed(TEXTS, model="blu")
    with Client(URL, retries=0) as once, pytest.raises(ServiceError, match="'gone' cannot be loaded") as failed:
        once.embed(TEXTS, model="gone")
    assert failed.value.status == 503 and failed.value.detail is not None
    assert (failed.value.detail.code, failed.value.detail.param) == ("model_not_loaded", "model")


def test_requests_for_several_models_at_once_all_get_theirs(service: tuple[Path, Release], folders: Path) -> None:
    known = {
        name: load_encoder(read_encoder({"model": str(folders / name), "precision": "fp32"})).encode(TEXTS)
        for name in ("red", "blue")
    }

    def ask(number: int) -> None:
        name = ("red", "blue")[number // 6 % 2]  # one is given back under requests for the other
        with Client(URL) as client:
            np.testing.assert_allclose(client.embed(TEXTS, model=name), known[name], atol=2e-3)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(36)))


def test_the_ranker_of_the_release_and_the_named_one_rank(service: tuple[Path, Release], folders: Path) -> None:
    with Client(URL) as client:
        for folder, model, name in (("cross-red", None, "cross-red"), ("cross-blue", "judge", "judge")):
            logits = [
                logit
                for logit, _, _ in CrossEncoderModel(str(folders / folder), 512).score(
                    [(QUERY, text, None) for text in TEXTS]
                )
            ]
            answer = client.rerank(QUERY, TEXTS, model=model)
            scores = {one.index: one.relevance_score for one in answer.results}
            assert answer.model == name
            assert [scores[place] for place in range(3)] == pytest.approx(
                [1 / (1 + np.exp(-x)) for x in logits], abs=1e-3
            )
        with pytest.raises(ServiceError) as refused:
            client.rerank("matrix " * 40, TEXTS)
        assert refused.value.detail is not None and refused.value.detail.param == "query"


def answers_of(live: str) -> dict[str, Any]:
    """What the service says of a pair and of texts once a release is live."""
    end = time.monotonic() + 30
    while httpx.get(f"{URL}/v1/releases", timeout=30).json()["live"] != live:
        assert time.monotonic() < end
        time.sleep(0.1)
    with Client(URL) as client:
        (link,) = (scores := client.score_pairs([("d0_0", "d3_1")])).links
        return {"calibrated": scores.calibrated, "score": link.score, "ranker": client.rerank(QUERY, TEXTS).model}


def test_another_link_model_and_ranker_are_taken_up_and_rolled_back(
    service: tuple[Path, Release], folders: Path, tmp_path: Path
) -> None:
    path, first = service
    before = answers_of("first")
    assert before["calibrated"] and before["ranker"] == "cross-red" and before["score"] is not None
    assert first.links is not None
    links = first.links.model_copy(update={"calibrator": None})
    second = first.model_copy(update={"id": "second", "links": links, "ranker": str(folders / "cross-blue")})
    change_traffic(path, lambda traffic: with_live(traffic, second))
    assert answers_of("second") == {**before, "calibrated": False, "ranker": "cross-blue"}
    change_traffic(path, lambda now: now and now.changed(live="first", previous="second"))
    assert answers_of("first") == before
