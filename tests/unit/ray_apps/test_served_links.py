"""Which link model a run serves: its own, a version that the workspace has, or one that is fetched."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from discovery.predictor import LinkPredictor
from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.registry import fingerprints, registry_of
from ray_apps.served_links import check_links, link_artifacts, with_champion
from serving.artifacts import LinkArtifacts
from serving.traffic import Canary, Traffic, with_live
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.serving.test_traffic import release
from tests.unit.serving.whole_application import link_model
from training.tracking import Tracker


def planned(folder: Path, **serve: Any) -> Plan:  # noqa: ANN401 - of ServeConfig
    """A run, none of whose stages is made here."""
    run = {
        "name": "r",
        "workspace": folder / "workspace",
        "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
        "encoder": {"hashed": {"dim": 16}},
        "serve": serve,
    }
    if not (folder / "documents.jsonl").exists():  # a source that is touched is another one
        (folder / "documents.jsonl").touch()
    return Plan(RunConfig.model_validate(run))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two versions in its registry: the first of the workspace's own artifact, the second from elsewhere."""
    folder = tmp_path_factory.mktemp("run")
    plan, links = planned(folder), link_model()[1]
    root = write_run(folder / "made")
    build(root)
    for stage, made in (("graph", links.graph), ("train", links.train), ("index", root / "out")):
        shutil.copytree(made, plan.artifact(stage).path)
        (plan.artifact(stage).path / "_SUCCESS").touch()
    embed = plan.artifact("embed").path
    embed.mkdir(parents=True)
    (embed / "result.json").write_text('{"fingerprint": "e1"}')
    (embed / "_SUCCESS").touch()
    for key in (plan.artifact("train").key, "elsewhere"):
        model = plan.artifact("train").path
        ranks = folder / "ranks.npz"
        np.savez(ranks, sources=np.arange(9), targets=np.arange(9), **{"ranks/model": np.ones(18)})
        files = {f"model/{one.name}": one for one in model.glob("*.safetensors")}
        run = Tracker(plan.run.train.tracking, plan.run.workspace / "mlflow.db", "r", plan.run.train).end({})
        made_of = fingerprints(plan)
        registry_of(plan).register(run, {**files, "evaluation/ranks.npz": ranks}, made_of, 1.0, {"train": key})
    return folder


def artifacts(folder: Path, **serve: Any) -> LinkArtifacts:  # noqa: ANN401
    found = link_artifacts(planned(folder, **serve))
    assert found is not None
    return found


def test_the_alias_decides_and_what_the_workspace_has_is_not_fetched(folder: Path) -> None:
    plan = planned(folder)
    own, champion = artifacts(folder), artifacts(folder, link_model="champion")
    assert (own.version, champion.version) == (None, 1)
    assert own.train == champion.train == plan.artifact("train").path
    assert artifacts(folder, link_model=1) == champion


def test_a_version_from_elsewhere_is_fetched_once_and_scores_as_it_did(folder: Path) -> None:
    fetched = artifacts(folder, link_model="challenger")
    assert fetched.version == 2 and fetched.train.parent.name == "registered"
    pairs = [("d0_0", "d3_1"), ("d1_2", "d1_5")]
    known, found = (LinkPredictor(links.graph, links.train).pairs(pairs) for links in (artifacts(folder), fetched))
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in known], abs=1e-5)
    stamp = (fetched.train / "_SUCCESS").stat().st_mtime_ns
    assert (artifacts(folder, link_model=2).train / "_SUCCESS").stat().st_mtime_ns == stamp


def test_probabilities_are_those_that_discovery_learnt_of_the_same_model(folder: Path) -> None:
    plan = planned(folder)
    keys = {"graph": plan.artifact("graph").key, "train": plan.artifact("train").key}
    for name, inputs in (("other", {**keys, "train": "another"}), ("same", {**keys, "documents": "d"})):
        discovered = folder / "workspace" / "discover" / name
        discovered.mkdir(parents=True)
        (discovered / "config.json").write_text(json.dumps({"inputs": inputs}))
        (discovered / "_SUCCESS").touch()
    same = folder / "workspace" / "discover" / "same" / "calibrator.json"
    assert artifacts(folder, link_model="champion").calibrator == artifacts(folder).calibrator == same
    assert artifacts(folder, link_model="challenger").calibrator is None
    shutil.rmtree(folder / "workspace" / "discover")


def test_what_is_not_there_or_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="r has no version 7"):
        artifacts(folder, link_model=7)
    with pytest.raises(InputError, match=r"serve\.link_model: there is no graph at"):
        link_artifacts(planned(tmp_path, link_model="champion"))
    assert link_artifacts(planned(tmp_path)) is None
    embed = planned(folder).artifact("embed").path / "result.json"
    embed.write_text('{"fingerprint": "e2"}')
    try:
        with pytest.raises(InputError, match="made from something else: encoder e1 there, e2 here"):
            artifacts(folder, link_model=2)
    finally:
        embed.write_text('{"fingerprint": "e1"}')


def test_a_model_that_cannot_be_opened_is_refused_before_any_service_has_it(folder: Path, tmp_path: Path) -> None:
    links = artifacts(folder)
    check_links(links)
    shutil.copytree(links.train, tmp_path / "broken")
    (tmp_path / "broken" / "model.scorer.safetensors").unlink()
    with pytest.raises(InputError, match=r"the link model in .*broken cannot be opened"):
        check_links(links.model_copy(update={"train": tmp_path / "broken"}))


def test_the_champion_takes_the_place_of_the_live_model_and_of_nothing_else(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = artifacts(folder)
    live = release("a").model_copy(update={"links": own, "ranker": "some/cross"})
    traffic = Traffic(live="a", canary=Canary(release="b", share=0.5), releases={"a": live, "b": release("b")})
    after = with_champion(planned(folder, link_model="challenger"), traffic)
    new = after.releases[after.live]
    assert (after.previous, after.canary) == ("a", None)
    assert new.links is not None and new.links.version == 2
    assert new.model_copy(update={"id": "a", "links": own}) == live
    assert with_champion(planned(folder, link_model="challenger"), after) == after
    assert with_live(after, live).live == "a"

    elsewhere = live.model_copy(update={"links": own.model_copy(update={"graph": folder})})
    other = Traffic(live="a", releases={"a": elsewhere})
    with caplog.at_level(logging.WARNING, logger="catena"):
        assert with_champion(planned(folder, link_model="champion"), other) is other
    assert "the live release is over another graph" in caplog.text
