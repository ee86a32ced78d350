"""Models by name, rankers of their own, and link models of the registry, in a service that runs, in both layouts."""

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import yaml

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from ray_apps.cli import main
from ray_apps.plan import Plan
from ray_apps.registry import fingerprints, registry_of
from ray_apps.serve import service_of
from retrieval.cross_encoder import CrossEncoderModel
from serving.client import Client, ServiceError
from serving.listener import Listener
from tests.services import planned, run_of
from tests.tiny_model import cross_encoder, tiny_model
from tests.unit.serving.test_rerank import QUERY, TEXTS
from tests.unit.serving.whole_application import link_model
from training.links.scorer import PairScorer
from training.tracking import Tracker

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = 18_326
URL = f"http://127.0.0.1:{PORT}"


@dataclass(frozen=True)
class Running:
    """A service that runs.

    Attributes:
        plan: of its run.
        run_file: of it.
    """

    plan: Plan
    run_file: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders and two cross-encoders, in folders of their own."""
    made = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("red", "blue")):
        tiny_model(made / name, seed)
        cross_encoder(made / f"cross-{name}", seed)
    return made


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both layouts have their runs: artifacts and the store of MLflow are made once."""
    return tmp_path_factory.mktemp("named")


@pytest.fixture(scope="module", params=["compact", "spread"])
def running(request: pytest.FixtureRequest, cluster: None, folders: Path, workshop: Path) -> Iterator[Running]:
    """A run with a trained link model, which is version 1 of its registry, and further models."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    models: dict[str, Any] = {
        name: {"encoder": {"model": str(folders / name), "precision": "fp32"}} for name in ("red", "blue", "gone")
    }
    models["judge"] = {"ranker": str(folders / "cross-blue")}
    run = run_of(workshop, f"named-{request.param}", layout=request.param, ranker=str(folders / "cross-red"))
    run["serve"] |= {"models": models, "loaded_models": 1, "link_model": "champion"}
    plan, links = planned(run), link_model()[1]
    run_file = workshop / f"{request.param}.yaml"
    run_file.write_text(yaml.safe_dump(run))
    for stage, made in (("graph", links.graph), ("train", links.train)):  # as those stages would have made them
        shutil.copytree(made, plan.artifact(stage).path, dirs_exist_ok=True)
        (plan.artifact(stage).path / "_SUCCESS").touch()
    register(plan, plan.artifact("train").path, plan.artifact("train").key)
    if request.param == "compact":
        with Listener("127.0.0.1", PORT) as listener:
            serve.run(build(service_of(plan).model_copy(update={"listener": listener.path})), name="named")
            yield Running(plan, run_file)
            serve.shutdown()
        return
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service_of(plan)), name="named")
    yield Running(plan, run_file)
    serve.shutdown()


def register(plan: Plan, model: Path, key: str) -> None:
    """Add a link model to the registry, with ranks of held-out links that are never worse than those before."""
    ranks = model / "ranks.npz"
    np.savez(ranks, sources=np.arange(9), targets=np.arange(9), **{"ranks/model": np.ones(18)})
    files = {f"model/{one.name}": one for pattern in ("*.safetensors", "*.json") for one in model.glob(pattern)}
    run = Tracker(plan.run.train.tracking, plan.run.workspace / "mlflow.db", "named", plan.run.train).end({})
    registry_of(plan).register(run, {**files, "evaluation/ranks.npz": ranks}, fingerprints(plan), 1.0, {"train": key})


def test_models_are_loaded_as_they_are_asked_for(running: Running, folders: Path) -> None:
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


def test_requests_for_several_models_at_once_all_get_theirs(running: Running, folders: Path) -> None:
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


def test_the_ranker_of_the_release_and_the_named_one_rank(running: Running, folders: Path) -> None:
    pairs = [(QUERY, text, None) for text in TEXTS]
    with Client(URL) as client:
        for folder, model, name in (("cross-red", None, "cross-red"), ("cross-blue", "judge", "judge")):
            logits = np.array([logit for logit, _, _ in CrossEncoderModel(str(folders / folder), 512).score(pairs)])
            answer = client.rerank(QUERY, TEXTS, model=model)
            scores = {one.index: one.relevance_score for one in answer.results}
            assert answer.model == name
            assert [scores[place] for place in range(3)] == pytest.approx(1 / (1 + np.exp(-logits)), abs=0.02)  # bf16
        with pytest.raises(ServiceError) as refused:
            client.rerank("matrix " * 40, TEXTS)
        assert refused.value.detail is not None and refused.value.detail.param == "query"


def state_of(live: str) -> dict[str, Any]:
    """The live release as the service has it, once it is this one; and what it says of a link and of texts."""
    end = time.monotonic() + 30
    while (state := httpx.get(f"{URL}/v1/releases", timeout=30).json())["live"] != live:
        assert time.monotonic() < end, state
        time.sleep(0.1)
    (release,) = (one for one in state["releases"] if one["id"] == live)
    with Client(URL) as client:
        (link,) = client.score_pairs([("d0_0", "d3_1")]).links
        answer = client.rerank(QUERY, TEXTS)
    return {"version": release["link_model"], "score": link.score, "ranker": answer.model}


def live_after(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command; the release that is live then."""
    assert main([*map(str, words), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    return str(said["live"] if "live" in said else said["traffic"]["live"])


def test_the_champion_of_the_registry_is_served_and_the_one_before_again(
    running: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, run_file = running.plan, running.run_file
    first = state_of(live_after(capsys, "deploy", "status", run_file))
    assert first["version"] == 1 and first["score"] is not None

    other = tmp_path / "other"  # trained elsewhere: the workspace has no artifact of it
    shutil.copytree(plan.artifact("train").path, other)
    scorer = PairScorer.load(other / "model.scorer.safetensors")
    with torch.no_grad():
        scorer.direct.bias.add_(1.0)
    scorer.save(other / "model.scorer.safetensors")
    register(plan, other, "elsewhere")
    second = state_of(live_after(capsys, "registry", "promote", run_file))
    assert (second["version"], second["score"]) == (2, pytest.approx(first["score"] + 1.0, abs=1e-4))
    assert state_of(live_after(capsys, "registry", "rollback", run_file)) == first
    assert state_of(live_after(capsys, "deploy", "promote", run_file, "--serve.link-model", "challenger")) == second
    assert state_of(live_after(capsys, "deploy", "rollback", run_file)) == first


def test_another_ranker_is_taken_up_and_rolled_back(
    running: Running, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted = live_after(capsys, "deploy", "promote", running.run_file, "--serve.ranker", folders / "cross-blue")
    assert state_of(promoted)["ranker"] == "cross-blue"
    assert state_of(live_after(capsys, "deploy", "rollback", running.run_file))["ranker"] == "cross-red"
