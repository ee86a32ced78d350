"""``catena rank`` and which ranker a run serves: the last that was learned, whatever a service has kept since."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from data.artifacts import Artifact, StageConfig, StageResult, materialise
from data.capabilities.catalogue import Catalogue
from data.capabilities.ingest import ingest_catalogue
from data.capabilities.traces import Traces
from data.capabilities.vectors import embed_catalogue, manifest_of, vectors_of
from data.errors import InputError
from data.journals import SUFFIX
from data.partitions import digest_of
from data.sources.kept_traces import kept_traces
from data.spread import here
from evaluation.calibration import Calibrator
from evaluation.intent_calibration import IntentCalibrator
from ray_apps import deploy, rank
from ray_apps.catalogue import CatalogueResult, IntentsResult, _embedded_before
from ray_apps.config import RunConfig
from ray_apps.learn import learn_turn
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.serve import traffic_of
from ray_apps.served_capabilities import (
    capability_artifacts,
    follow_capabilities,
    last_made,
    offer_capabilities,
    registry_of,
    with_capabilities,
)
from ray_apps.stages import STAGES
from ray_apps.tables import capabilities
from serving.traffic import change_traffic, read_traffic, with_live
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.serving.test_traffic import release
from training.fingerprints import Fingerprints
from training.ranking.served import CapabilityRanker
from training.tracking import Tracker

TOOLS = {"rain": "forecast of rain and sun", "route": "distance between two places", "table": "book a table to eat"}


class LearnConfig(StageConfig):
    """Of the stand-in."""

    width: int = 1


class TurnResult(StageResult):
    """Of the stand-in: it is the first version, where a test registers it."""

    version: int = 1


def learn(config: LearnConfig, inputs: Inputs, out: Path) -> StageResult:
    """A ranker by cosines, in the place of one that is learned."""
    catalogue, intents = Catalogue.open(inputs["catalogue"].path), inputs["intents"].path
    manifest = manifest_of(intents)
    CapabilityRanker(
        kind="cosine",
        version=out.name,
        capabilities=catalogue.capabilities,
        texts=catalogue.texts,
        metadata=catalogue.metadata,
        can_run=catalogue.can_run,
        tools=catalogue.tools,
        fingerprint=manifest["fingerprint"],
        intent_map=np.eye(manifest["dim"], dtype=np.float32),
        context_map=None,
        tool_vectors=np.array(vectors_of(intents, "tools")),
        keys=np.array(vectors_of(intents, "capabilities")),
        heads=1,
        features=("success_all",),
        feature_weights=np.array([0.3], np.float32),
        calibrator=IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 4.0, -1.0)),
    ).save(out / "model")
    return TurnResult()


def planned(folder: Path, width: int = 1, **serve: Any) -> Plan:  # noqa: ANN401 - of ServeConfig
    stage = Stage[LearnConfig, StageResult](
        name="learn",
        result=StageResult,
        config=lambda plan: LearnConfig(width=width),
        make=learn,
        needs=lambda plan: {"catalogue": "catalogue", "intents": "intents"},
    )
    run = {
        "name": "r",
        "workspace": folder / "workspace",
        "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
        "catalogue": {"tools": {"path": str(folder / "tools.jsonl")}},
        "encoder": {"hashed": {"dim": 16}},
        "serve": serve,
    }
    return Plan(RunConfig.model_validate(run), {**STAGES, "learn": stage})


def made_catalogue(plan: Plan) -> Artifact:
    """The tables of a run, made in this process."""

    def ingest(out: Path) -> StageResult:
        config = plan._step("catalogue").config
        further = kept_traces(config.journals, config.kept)  # type: ignore[attr-defined]
        assert plan.run.catalogue is not None
        counts = ingest_catalogue(plan.run.catalogue, out, here, further)
        return CatalogueResult(**counts, content=digest_of([out / name for name in ("capabilities", "traces")]))

    return materialise(plan.artifact("catalogue"), ingest)


def made(plan: Plan) -> Artifact:
    """The stages of a ranker, made in this process."""
    made_catalogue(plan)

    def embed(out: Path) -> StageResult:
        folder = plan.artifact("catalogue").path
        catalogue = Catalogue.open(folder)
        intents = Traces.open(folder, catalogue).intents
        texts = {"tools": catalogue.tool_texts, "capabilities": catalogue.texts, "intents": intents}
        told = embed_catalogue(texts, plan.encoder, out, here)
        return IntentsResult(**{kind: len(of_kind) for kind, of_kind in texts.items()}, **told, encoder="hashed")

    work: dict[str, Callable[[Path], StageResult]] = {"intents": embed}
    work["learn"] = lambda out: learn(LearnConfig(), plan.inputs("learn"), out)
    return [materialise(plan.artifact(stage), make) for stage, make in work.items()][-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [{"id": id_, "name": id_, "description": text} for id_, text in TOOLS.items()]
    (tmp_path / "tools.jsonl").write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    (tmp_path / "documents.jsonl").touch()
    return tmp_path


def keep(plan: Plan, name: str = "one", request: str = "r1") -> None:
    """What a service has kept: ``table`` was run for an intent, and succeeded."""
    folder = plan.run.workspace / "journals" / plan.run.name
    folder.mkdir(parents=True, exist_ok=True)
    told = {"item": None, "value": None, "session": None, "time": 2.0, "request_id": request}
    ranked = {"kind": "ranked", "intent": "eat", "context": [], "items": ["table"], "scores": [0.5], "time": 1.0}
    ranked |= {"propensities": [1.0], "model_version": "v", "request_id": request}
    rows = [ranked, {"kind": "feedback", "action": "succeeded", **told}]
    (folder / f"{name}{SUFFIX}").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def asked(plan: Plan, *words: str) -> dict[str, Any]:
    assert rank.COMMAND.call is not None
    return dict(rank.COMMAND.call(plan, rank.COMMAND.parser().parse_args(["run.yaml", *words])))


def test_capabilities_are_ranked_and_shown(folder: Path) -> None:
    plan = planned(folder)
    made(plan)
    result = asked(plan, "book a table", "--top-k", "2", "--context", "rain,gone", "--explain", "--boost", "rain=3")
    assert result["results"][0]["id"] == "table" and len(result["results"]) == 2
    assert result["unknown"] == ["gone"] and result["degraded"] == [] and json.dumps(result)
    text = capabilities(result)
    assert text.splitlines()[0].startswith("  1. table  0.") and "book a table to eat" in text
    assert "raw " in text and "success_all 0.5 moves it by +0.1500" in text and "unknown, left out: gone" in text
    only = asked(plan, "book a table", "--filter", "document_id=route", "--candidates", "route,table")
    assert [one["id"] for one in only["results"]] == ["route"]
    assert "no capability is left" in capabilities(asked(plan, "book a table", "--min-score", "1"))
    assert "first with" in capabilities(asked(plan, "book a table", "--explore", "thompson"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eat", "--filter", "team=x"], "no filter by 'team'"),
        (["eat", "--boost", "table"], "--boost table"),
        (["eat", "--boost", "table=0"], "boosts"),
        (["  "], "intent"),
        (["eat", "--min-score", "2"], "from 0 to 1"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, words: list[str], said: str) -> None:
    plan = planned(folder)
    made(plan)
    with pytest.raises(InputError, match=said):
        asked(plan, *words)


def test_before_anything_was_learned_the_command_is_named(folder: Path) -> None:
    assert capability_artifacts(planned(folder)) is None
    with pytest.raises(InputError) as error:
        asked(planned(folder), "eat")
    assert "catena learn" in error.value.remedy


def test_what_a_service_keeps_is_learned_from_and_the_ranker_before_serves_until_then(folder: Path) -> None:
    first = made(planned(folder))
    keep(planned(folder))
    plan = planned(folder)
    assert plan.artifact("learn").key != first.key and not plan.artifact("learn").done
    found = capability_artifacts(plan)
    assert found is not None and found.ranker == first.path / "model"
    assert last_made(planned(folder, width=2), "learn") is None  # it would be learned otherwise
    second = made(plan)
    of_before = folder / "workspace" / "intents" / first.identity["inputs"]["intents"]
    assert _embedded_before(plan.artifact("intents").path) == [of_before.resolve()]  # its vectors are copied
    assert of_before not in _embedded_before(of_before)
    assert last_made(planned(folder), "learn") == second.path
    catalogue = second.identity["inputs"]["catalogue"]
    opened = Catalogue.open(plan.artifact("catalogue").path)
    assert plan.artifact("catalogue").key == catalogue
    assert Traces.open(plan.artifact("catalogue").path, opened).intents == ["eat"]
    keep(planned(folder), "two")  # the same again, by another replica: another artifact, and no other trace
    made(again := planned(folder))
    assert len(Traces.open(again.artifact("catalogue").path, opened)) == 1


def test_a_turn_is_not_made_again_where_a_service_has_kept_more_and_no_trace_is_new(folder: Path) -> None:
    keep(planned(folder))
    learned = made(planned(folder))
    keep(planned(folder), "two")
    again = planned(folder)
    materialised = again.artifact("catalogue")
    assert materialised.key != learned.identity["inputs"]["catalogue"]
    made_catalogue(again)
    assert learn_turn(again, Namespace())["artifact"] == str(learned.path)
    assert not again.artifact("learn").done


def test_a_run_that_reads_no_journals_stays_as_it_is(folder: Path) -> None:
    without = planned(folder)
    before = without.artifact("catalogue").key
    keep(without)
    assert planned(folder).artifact("catalogue").key != before
    assert without.run.catalogue is not None
    catalogue = without.run.catalogue.model_copy(update={"kept": False})
    run = without.run.model_copy(update={"catalogue": catalogue})
    assert Plan(run, without.stages).artifact("catalogue").key == before


def register(plan: Plan, key: str, learned: Artifact) -> None:
    """Add a learned ranker to the run's registry; the first version becomes champion."""
    ranks = plan.run.workspace / "ranks.npz"
    np.savez(ranks, sources=np.arange(9), targets=np.arange(9), **{"ranks/model": np.ones(18)})  # type: ignore[arg-type]
    files = {f"model/{one.name}": one for one in (learned.path / "model").iterdir()}
    run = Tracker(plan.run.train.tracking, plan.run.workspace / "mlflow.db", "r", plan.run.train).end({})
    made_of = Fingerprints(data="d", split="s", encoder="e", code="c")
    registry_of(plan).register(run, {**files, "evaluation/ranks.npz": ranks}, made_of, 1.0, {"train": key})


def served_without_a_ranker(plan: Plan, folder: Path) -> None:
    """A service of the run, whose release ``old`` has an index of the encoder that intents were embedded by."""
    root = write_run(folder / "made", dim=16)
    manifest = json.loads((root / "manifest.json").read_text())
    fingerprint = manifest_of(plan.artifact("intents").path)["fingerprint"]
    (root / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": fingerprint}))
    build(root)
    live = release("old").model_copy(update={"index": root / "out", "bundles": Path("/bundles/b1")})
    change_traffic(traffic_of(plan), lambda traffic: with_live(traffic, live))


def test_a_turn_that_learns_nothing_new_makes_no_release_and_a_rollback_goes_to_the_ranker_before(
    folder: Path,
) -> None:
    keep(planned(folder))
    learned = made(planned(folder))
    register(planned(folder), learned.key, learned)
    served_without_a_ranker(planned(folder), folder)
    first = follow_capabilities(planned(folder))
    before = read_traffic(traffic_of(planned(folder)))
    keep(planned(folder), "two")  # the journal grows by what is no new trace
    made_catalogue(again := planned(folder))
    artifacts = capability_artifacts(again)
    assert artifacts is not None and artifacts.catalogue == again.artifact("catalogue").path
    assert learn_turn(again, Namespace())["artifact"] == str(learned.path)
    assert read_traffic(traffic_of(again)) == before and before is not None and before.live == first

    keep(planned(folder), "three", request="r2")  # a new trace, of which nothing was learned yet
    made_catalogue(more := planned(folder))
    later = follow_capabilities(more)
    after = read_traffic(traffic_of(more))
    assert after is not None and (after.live, after.previous) == (later, "old") and later != first
    assert set(after.releases) == {later, "old"}


def test_what_was_rolled_back_is_not_brought_again_by_a_turn_that_learns_nothing_new(folder: Path) -> None:
    keep(planned(folder))
    learned = made(planned(folder))
    register(planned(folder), learned.key, learned)
    served_without_a_ranker(planned(folder), folder)
    follow_capabilities(planned(folder))
    (rollback,) = (one.call for one in deploy.COMMANDS if one.name == "deploy rollback")
    assert rollback is not None and rollback(planned(folder), Namespace())["traffic"]["live"] == "old"
    back = read_traffic(traffic_of(planned(folder)))
    told = learn_turn(planned(folder), Namespace())["service"]
    assert "was live before, and was taken back. `catena deploy promote RUN.yaml`" in told
    keep(planned(folder), "two", request="r2")  # a new trace, of which nothing was learned yet
    made_catalogue(more := planned(folder))
    assert offer_capabilities(more) == told and read_traffic(traffic_of(more)) == back
    made(more)
    assert offer_capabilities(more) is None
    after = read_traffic(traffic_of(more))
    assert after is not None and after.previous == "old"


def test_the_table_of_releases_tells_rankers_and_bundles_apart(folder: Path) -> None:
    learned = made(plan := planned(folder))
    told = json.loads((learned.path / "result.json").read_text())
    del told["version"]  # of a turn that was registered nowhere
    (learned.path / "result.json").write_text(json.dumps(told))
    served_without_a_ranker(plan, folder)
    follow_capabilities(plan)
    command = next(one for one in deploy.COMMANDS if one.name == "deploy status")
    assert command.call is not None
    shown = command.show(command.call(plan, Namespace())).splitlines()
    live, old = (next(row for row in shown if role in row) for role in (" live ", " previous "))
    assert learned.key in live and "b1" in live and "b1" in old and learned.key not in old
    (learned.path / "result.json").write_text(json.dumps({**told, "version": 2}))  # as a real turn has it
    follow_capabilities(plan)
    assert "version 2" in command.show(command.call(plan, Namespace()))


def test_a_challenger_is_not_brought_to_a_running_service_and_a_champion_is(folder: Path) -> None:
    plan = planned(folder)
    learned = made(plan)
    served_without_a_ranker(plan, folder)
    before = read_traffic(traffic_of(plan))
    assert learn_turn(planned(folder), Namespace())["service"] is None
    assert read_traffic(traffic_of(plan)) == before, "no version is champion"
    register(plan, learned.key, learned)
    assert learn_turn(planned(folder), Namespace())["service"] is None
    after = read_traffic(traffic_of(plan))
    assert after is not None and before is not None and after.live != before.live


def test_a_challenger_is_served_where_there_is_no_champion_alone(folder: Path) -> None:
    learned = made(plan := planned(folder))
    told = json.loads((learned.path / "result.json").read_text())
    (learned.path / "result.json").write_text(json.dumps({**told, "version": 2, "champion": False}))
    found = capability_artifacts(plan)
    assert found is not None and found.version == 2
    register(plan, learned.key, learned)  # version 1, champion
    found = capability_artifacts(plan)
    assert found is not None and found.version == 1


def test_a_service_takes_up_what_was_learned_and_refuses_what_does_not_fit(folder: Path) -> None:
    plan = planned(folder)
    assert follow_capabilities(plan) is None  # nothing is served, and nothing learned
    made(plan)
    served_without_a_ranker(plan, folder)
    id_ = follow_capabilities(plan)
    traffic = read_traffic(traffic_of(plan))
    assert traffic is not None and traffic.live == id_ != "old" and traffic.previous == "old"
    assert traffic.releases[traffic.live].capabilities == capability_artifacts(plan)
    assert follow_capabilities(plan) == id_ and read_traffic(traffic_of(plan)) == traffic
    other = write_run(folder / "other", dim=16)
    build(other)
    wrong = with_live(None, release("x").model_copy(update={"index": other / "out"}))
    artifacts = capability_artifacts(plan)
    assert artifacts is not None
    with pytest.raises(InputError, match="takes vectors of the encoder"):
        with_capabilities(wrong, artifacts)


def test_a_turn_is_kept_where_the_service_runs_with_another_encoder(folder: Path) -> None:
    plan = planned(folder)
    assert offer_capabilities(plan) is None
    learned = made(plan)
    other = write_run(folder / "other", dim=16)
    build(other)
    change_traffic(
        traffic_of(plan), lambda _: with_live(None, release("x").model_copy(update={"index": other / "out"}))
    )
    before = read_traffic(traffic_of(plan))
    assert learn_turn(planned(folder), Namespace())["service"] is None, "a challenger is not brought to it"
    register(plan, learned.key, learned)
    told = learn_turn(planned(folder), Namespace())
    assert told["artifact"] == str(learned.path) and read_traffic(traffic_of(plan)) == before
    assert "takes vectors of the encoder" in told["service"] and "catena deploy promote RUN.yaml" in told["service"]


def test_a_version_of_the_registry_is_served_from_the_workspace_or_fetched(folder: Path) -> None:
    plan = planned(folder)
    learned = made(plan)
    for key in (learned.key, "elsewhere"):
        register(plan, key, learned)
    champion = capability_artifacts(planned(folder, capability_model="champion"))
    fetched = capability_artifacts(planned(folder, capability_model="challenger"))
    assert champion is not None and fetched is not None
    assert (champion.version, champion.ranker) == (1, learned.path / "model")
    assert fetched.version == 2 and "registered" in str(fetched.ranker)
    assert CapabilityRanker.open(fetched.ranker).version == learned.key
    with pytest.raises(InputError, match="no version 7"):
        capability_artifacts(planned(folder, capability_model=7))


def test_a_run_without_a_catalogue_has_no_ranker(folder: Path) -> None:
    plan = planned(folder)
    run = plan.run.model_copy(update={"catalogue": None})
    assert capability_artifacts(Plan(run, plan.stages)) is None
    named = run.model_copy(update={"serve": run.serve.model_copy(update={"capability_model": "champion"})})
    with pytest.raises(InputError, match="no `catalogue`"):
        capability_artifacts(Plan(named, plan.stages))


def test_the_words_of_a_service_are_those_of_a_run() -> None:
    assert rank.COMMAND.remote is not None
    words = rank.COMMAND.remote.parser().parse_args(["--url", "http://x", "eat", "--context", "a,b", "--top-k", "3"])
    assert isinstance(words, Namespace)
    request = rank._request(words)
    assert (request.intent, request.context, request.top_k, request.candidates) == ("eat", ["a", "b"], 3, None)
