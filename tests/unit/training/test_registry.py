"""Trainings in MLflow, and the registry: who becomes champion, who goes back, who is refused. One store for all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import numpy as np
import pytest
from mlflow.models import Model

from data.errors import InputError
from training.config import OptimizerConfig, SpreadConfig, TrackingConfig
from training.fingerprints import Fingerprints, check_fits, code_fingerprint
from training.registry import Registry, Version
from training.tracking import RUN, Tracker

HERE = Fingerprints(data="d1", split="s1", encoder="e1", code=code_fingerprint())
ROW = {"epoch": 1, "loss": 0.5, "score": 0.25, "ndcg@10[48]": 0.5}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def tracker(store: str, out: Path | None = None, parent: str = "") -> Tracker:
    params = SpreadConfig(workers=2)
    return Tracker(TrackingConfig(uri=store), Path("unused"), "points", params, out, {"data": "d1"}, parent)


def registered(registry: Registry, folder: Path, ranks: np.ndarray, made: Fingerprints = HERE) -> Version:
    """A version whose model had these ranks: (2L,)."""
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    links = len(ranks) // 2
    order = np.random.default_rng(len(list(folder.parent.iterdir()))).permutation(links)
    arrays = {"ranks/model": np.concatenate([ranks[:links][order], ranks[links:][order]])}
    np.savez(folder / "ranks.npz", sources=np.arange(links)[order], targets=np.arange(links)[order] + 1, **arrays)
    files = {"model/model.safetensors": folder / "model.safetensors", "evaluation/ranks.npz": folder / "ranks.npz"}
    run = tracker(registry.store).end({})
    return registry.register(run, files, made, float((1 / ranks).mean()), {"run": "points"})


def test_a_training_is_seen_while_it_goes_on(store: str, tmp_path: Path) -> None:
    client, running = mlflow.MlflowClient(store), tracker(store, tmp_path)
    running.row(ROW)
    seen = client.get_run(running.run_id)
    assert seen.info.status == "RUNNING" and seen.data.metrics == {"loss": 0.5, "score": 0.25, "ndcg.10.48": 0.5}
    assert seen.data.params["workers"] == "2" and seen.data.tags["data"] == "d1"

    resumed = tracker(store, tmp_path)
    assert resumed.run_id == running.run_id == (tmp_path / RUN).read_text()
    (tmp_path / "model.json").write_text("{}")
    child = tracker(store, parent=running.run_id)
    assert resumed.end({"best": 0.25}, [tmp_path / "model.json"]) == running.run_id and not (tmp_path / RUN).exists()
    ended = client.get_run(running.run_id)
    assert ended.info.status == "FINISHED" and ended.data.metrics["best"] == 0.25
    assert [file.path for file in client.list_artifacts(running.run_id, "model")] == ["model/model.json"]
    assert client.get_run(child.run_id).data.tags["mlflow.parentRunId"] == running.run_id


def test_inner_keys_are_dotted(store: str) -> None:
    from data.artifacts import StageConfig

    class Whole(StageConfig):
        optimizer: OptimizerConfig = OptimizerConfig()
        layers: int = 2

    made = Tracker(TrackingConfig(uri=store), Path("unused"), "inner", Whole())
    params = mlflow.MlflowClient(store).get_run(made.run_id).data.params
    assert params["optimizer.learning_rate"] == "0.003" and params["layers"] == "2"


def test_a_store_that_cannot_be_reached_does_not_lose_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lost = tracker("http://127.0.0.1:9")
    lost.row(ROW)
    assert lost.end({}) == ""
    assert "the training in MLflow (http://127.0.0.1:9) cannot be reported" in caplog.text
    with pytest.raises(InputError, match=r"the registry http://127\.0\.0\.1:9 cannot be reached"):
        Registry("http://127.0.0.1:9", "points").versions()


def test_champions_are_made_refused_and_rolled_back(store: str, tmp_path: Path) -> None:
    registry, rng = Registry(store, "links"), np.random.default_rng(0)
    assert registry.versions() == []
    with pytest.raises(InputError, match="links has no challenger"):
        registry.promote()
    ranks = rng.integers(1, 40, 400).astype(float)
    first = registered(registry, tmp_path / "1", ranks)
    assert first.aliases == ("challenger", "champion") and first.fingerprints == HERE
    assert first.mrr == pytest.approx((1 / ranks).mean())

    worse = registered(registry, tmp_path / "2", ranks * 1.5)
    with pytest.raises(InputError, match=r"version 2 of links loses against the champion\n.*\n *champion +1 ") as told:
        registry.promote()
    assert "p = 0.0001, 200 links" in told.value.problem and "--force" in told.value.remedy
    better = registered(registry, tmp_path / "3", np.maximum(ranks - 3, 1))
    compared = registry.promote()
    assert compared is not None and compared.difference > 0 and compared.p_value < 0.05 and not compared.lost
    assert (compared.champion, compared.challenger) == (1, 3)
    assert [version.aliases for version in registry.versions()] == [("challenger", "champion"), (), ()]
    with pytest.raises(InputError, match="version 3 of links is the champion already"):
        registry.promote(better.version)
    with pytest.raises(InputError, match=r"links has no version 9\n  Versions: 3, 2, 1"):
        registry.promote(9)

    forced = registry.promote(worse.version, force=True)
    assert forced is not None and forced.lost
    assert registry.rollback() == (2, 3) and registry.rollback() == (3, 1)
    with pytest.raises(InputError, match=r"links had no champion before version 1"):
        registry.rollback()

    registered(registry, tmp_path / "4", ranks, replace(HERE, split="s2"))
    with pytest.raises(InputError, match=r"judged on other links than the champion \(s2 and s1\)"):
        registry.promote()
    assert registry.promote(force=True) is None


def test_a_registry_whose_files_or_database_are_lost(store: str, tmp_path: Path) -> None:
    registry = Registry(store, "lost")
    first = registered(registry, tmp_path / "1", np.full(20, 2.0))
    registered(registry, tmp_path / "2", np.ones(20))
    place = urlparse(mlflow.MlflowClient(store).get_run(first.run_id).info.artifact_uri).path
    (Path(place) / "evaluation" / "ranks.npz").unlink()
    with pytest.raises(InputError, match=r"the ranks of version 1 of lost cannot be read: the registry .* failed"):
        registry.promote()
    assert registry.promote(force=True) is None and registry.rollback() == (2, 1)
    shutil.rmtree(place)
    with pytest.raises(InputError, match=r"the registry .* failed"):
        registry.load("champion", HERE, tmp_path)
    broken = tmp_path / "broken.db"
    broken.write_text("no database")
    with pytest.raises(InputError, match="cannot be reached"):
        Registry(f"sqlite:///{broken}", "lost").versions()


def test_a_killed_promotion_or_rollback_can_be_repeated(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(store, "killed")
    registered(registry, tmp_path / "1", np.full(20, 2.0))
    registered(registry, tmp_path / "2", np.ones(20))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(registry, "_crown", interrupt)
        registry.promote()
    assert registry.promote() is not None
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(registry, "_remember", interrupt)
        registry.rollback()
    with pytest.raises(InputError, match="killed had no champion before version 1"):
        registry.rollback()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_model_is_loaded_where_it_fits(store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(store, "loaded")
    registered(registry, tmp_path / "1", np.ones(20))
    folder = registry.load("champion", HERE, tmp_path)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    described = Model.load(folder)
    assert described.signature.inputs.input_names() == ["source", "target"]
    assert json.loads(json.dumps(described.metadata))["encoder"] == "e1"
    with pytest.raises(
        InputError, match=r"version 1 of loaded was made from something else: encoder e1 there, e2 here"
    ):
        registry.load("champion", replace(HERE, encoder="e2"), tmp_path)
    check_fits("a model", HERE, replace(HERE, code="other"))
    assert "a model was trained by other code" in caplog.text


def test_names_of_metrics_have_no_brackets(store: str) -> None:
    made = tracker(store)
    assert made.end({"bm25/recall(rel=2)@100": 0.5, "ndcg@10[48]": 0.25}) == made.run_id
    metrics = mlflow.MlflowClient(store).get_run(made.run_id).data.metrics
    assert metrics == {"bm25/recall.rel.2.100": 0.5, "ndcg.10.48": 0.25}
