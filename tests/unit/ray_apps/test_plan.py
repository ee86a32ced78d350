"""The plan: what it hashes is what it hands over, what is done is kept, what is missing is made in order."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from data.artifacts import Artifact, StageConfig, StageResult
from data.errors import InputError, StageAbsent
from data.sources import SourceConfig
from ray_apps.config import RunConfig
from ray_apps.pipelines import pipeline_needs, pipelines_of
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.stages import STAGES


class Number(StageConfig):
    """What decides the output of a stage of these tests."""

    number: int = 0


class Sum(StageResult):
    """What it measures."""

    total: int


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    source = SourceConfig.model_validate({"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}})
    return RunConfig(name="r", workspace=tmp_path / "ws", source=source)


def adding(log: list[str], name: str, number: int, needs: Mapping[str, str], **more: Any) -> Stage[Number, Sum]:  # noqa: ANN401
    """A stage whose total is its number and the totals of its needs."""

    def make(config: Number, inputs: Inputs, out: Path) -> Sum:
        log.append(name)
        assert set(inputs) == set(needs)
        return Sum(total=config.number + sum(made.result["total"] for made in inputs.values()))

    return Stage(name, Sum, lambda plan: Number(number=number), make, needs=lambda plan: needs, **more)


def chain(log: list[str], **of_last: Any) -> dict[str, Stage[Any, Any]]:  # noqa: ANN401
    stages = (
        adding(log, "first", 1, {}),
        adding(log, "second", 10, {"before": "first"}),
        adding(log, "last", 100, {"one": "first", "other": "second"}, **of_last),
    )
    return {stage.name: stage for stage in stages}


def test_needs_are_made_first_once_and_what_is_done_is_kept(run: RunConfig) -> None:
    log: list[str] = []
    stages = chain(log)
    plan = Plan(run, stages)
    assert plan.result(stages["last"]) is None
    assert plan.bring("last").result["total"] == 112
    assert log == ["first", "second", "last"]
    result = Plan(run, stages).result(stages["last"])
    assert result is not None and result.total == 112 and result.seconds >= 0
    Plan(run, stages).bring("last")
    assert log == ["first", "second", "last"]


def test_the_key_covers_config_inputs_version_and_stamps(run: RunConfig) -> None:
    def key(name: str, stages: dict[str, Stage[Any, Any]]) -> str:
        return Plan(run, stages).artifact(name).key

    before = chain([])
    changed: list[Callable[[], Stage[Any, Any]]] = [
        lambda: adding([], "first", 2, {}),
        lambda: adding([], "first", 1, {}, version=2),
        lambda: adding([], "first", 1, {}, stamps=lambda config: {"code": "x"}),
    ]
    for make in changed:
        other = {**before, "first": make()}
        assert all(key(name, other) != key(name, before) for name in before)
    swapped = {**before, "last": adding([], "last", 100, {"one": "second", "other": "first"})}
    assert key("last", swapped) != key("last", before)
    described = json.loads(json.dumps(Plan(run, before).artifact("last").identity))
    assert described["config"] == {"number": 100, "version": 1} and set(described["inputs"]) == {"one", "other"}


def test_what_permits_a_stage_is_made_before_and_handed_over_but_does_not_change_its_key(run: RunConfig) -> None:
    log: list[str] = []

    def permitted(gate: int) -> dict[str, Stage[Any, Any]]:
        def make(config: Number, inputs: Inputs, out: Path) -> Sum:
            log.append("last")
            return Sum(total=inputs["gate"].result["total"])

        last: Stage[Number, Sum] = Stage(
            "last", Sum, lambda plan: Number(), make, permits=lambda plan: {"gate": "gate"}
        )
        return {"gate": adding(log, "gate", gate, {}), "last": last}

    assert Plan(run, permitted(7)).bring("last").result["total"] == 7
    Plan(run, permitted(8)).bring("last")
    assert log == ["gate", "last"]


def test_what_is_done_is_checked_again_with_all_that_it_was_made_from(run: RunConfig) -> None:
    log: list[str] = []
    refused: list[str] = []

    def reuse(config: Number, made: Artifact) -> None:
        refused.append("first")
        raise InputError("5 rejects", "mend them")

    Plan(run, chain(log)).bring("last")
    stages = {**chain(log), "first": adding(log, "first", 1, {}, reuse=reuse)}
    with pytest.raises(InputError, match="5 rejects"):
        Plan(run, stages).bring("last")
    assert refused == ["first"] and log == ["first", "second", "last"]


def test_stamps_are_taken_once_a_plan(run: RunConfig) -> None:
    taken: list[int] = []

    def stamps(config: Number) -> dict[str, int]:
        taken.append(config.number)
        return {}

    log: list[str] = []
    stages = {**chain(log), "first": adding(log, "first", 1, {}, stamps=stamps)}
    plan = Plan(run, stages)
    plan.names()
    plan.bring("last")
    plan.artifact("first")
    assert taken == [1]


def test_a_mistake_is_found_before_anything_is_made(run: RunConfig) -> None:
    def check(config: Number) -> None:
        raise InputError("wrong", "correct it")

    log: list[str] = []
    with pytest.raises(InputError, match="wrong"):
        Plan(run, chain(log, check=check)).bring("last")
    assert log == []


def test_a_stage_that_turns_out_absent_stops_before_its_next_need(run: RunConfig) -> None:
    def absent(plan: Plan) -> StageAbsent | None:
        made = plan.artifact("first")
        return StageAbsent("too few", "give more") if made.done and made.result["total"] < 5 else None

    log: list[str] = []
    stages = chain(log, absent=absent)
    assert Plan(run, stages).names() == ["first", "second", "last"]
    with pytest.raises(StageAbsent, match="too few"):
        Plan(run, stages).bring("last")
    assert log == ["first"]
    assert Plan(run, stages).names() == ["first", "second"]


def test_reuse_sees_an_artifact_of_an_earlier_command_once(run: RunConfig) -> None:
    seen: list[str] = []

    def reuse(config: Number, artifact: Artifact) -> None:
        seen.append(artifact.stage)

    log: list[str] = []
    stages = {**chain(log), "first": adding(log, "first", 1, {}, reuse=reuse)}
    Plan(run, stages).bring("first")
    assert seen == []
    Plan(run, stages).bring("last")
    assert seen == ["first"]


def test_every_stage_of_the_product_needs_only_stages_before_it(run: RunConfig) -> None:
    run = run.model_copy(update={"steps": (), "late": None})
    plan, before = Plan(run), set[str]()
    for name, stage in STAGES.items():
        assert stage.name == name
        if stage.wanted(plan):
            assert set(stage.needs(plan).values()) <= before, name
        before.add(name)


def test_corpus_is_fingerprinted_once_for_a_whole_dry_run(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from data.sources import fingerprint

    asked: list[SourceConfig] = []

    def counted(config: SourceConfig) -> dict[str, str]:
        asked.append(config)
        return fingerprint(config)

    monkeypatch.setattr("ray_apps.ingest.fingerprint", counted)
    plan = Plan(run)
    assert {"ingest", "chunk", "embed", "index", "discover"} <= set(plan.names())
    assert all(not plan.artifact(name).done for name in plan.names())
    assert len(asked) == 1


@pytest.mark.parametrize(("expand", "needed"), [("known", False), ("discovered", True), ("both", True)])
def test_links_that_a_pipeline_follows_are_brought_before_it_is_asked(
    run: RunConfig, expand: str, needed: bool
) -> None:
    """The look-up is needed by such a pipeline alone, and has proposals where they are followed."""
    keys = {"pipelines": {"linked": [{"find": "hybrid"}, {"expand": expand}]}}
    plan = Plan(RunConfig(**{"name": "r", "workspace": run.workspace, "source": run.source, **keys}))
    assert ("discovered" in plan.inputs("lookup")) == needed
    assert pipeline_needs(plan, plan.run.pipelines) == {"links": "lookup"}
    assert "links" in plan.inputs("evaluate_search")
    assert pipeline_needs(Plan(run), pipelines_of(run)) == {} and "discovered" not in Plan(run).inputs("lookup")
