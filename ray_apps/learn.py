"""Learning to rank capabilities from traces: one turn of the loop, from new traces to a challenger or a champion."""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from data.artifacts import Artifact, StageConfig, StageResult
from ray_apps.catalogue import no_catalogue
from ray_apps.command import Command
from ray_apps.plan import Inputs, Plan, Stage
from ray_apps.tables import figures_table
from training.ranking.config import LearnConfig

if TYPE_CHECKING:
    from training.ranking.experience import Experience
    from training.registry import Registry


logger = logging.getLogger("catena")


class TurnConfig(StageConfig):
    """What decides a turn; its name and store in MLflow do not."""

    execution: ClassVar[frozenset[str]] = frozenset({"name", "store"})

    learn: LearnConfig
    name: str
    store: Path


class LearnResult(StageResult):
    """What was learned from, every ranker's figures on held-out intents, what is served and why."""

    traces: int
    intents: int
    learned_from: int
    kind: str
    sentence: str
    verdict: str
    table: dict[str, dict[str, float]]
    compared: dict[str, dict[str, float]]
    move: dict[str, float]
    network: dict[str, Any] | None
    message_share: float | None
    against_champion: dict[str, float] | None
    calibrated_by: Literal["run", "places", "nothing"]
    calibration: str
    lost: bool
    lost_by: Literal["mrr", "calibration"] | None
    with_success: dict[str, int]
    counterfactual: dict[str, dict[str, dict[str, Any]]]
    reliability: dict[str, list[dict[str, float]]] = Field(default_factory=dict)
    features: list[str] = Field(default_factory=list)
    registered_as: str
    version: int
    champion: bool
    mlflow_run: str


def registry_of(plan: Plan) -> "Registry":
    """The registry of a run's rankers of capabilities."""
    return _registry(_config(plan))


def _registry(config: TurnConfig) -> "Registry":
    from training.registry import Registry
    from training.tracking import store_of

    return Registry(store_of(config.learn.tracking, config.store), config.name)


def read_experience(catalogue: Path, intents: Path, config: LearnConfig) -> "Experience":
    """Tables and vectors, and what is held out of them."""
    from data.capabilities.catalogue import Catalogue
    from data.capabilities.traces import Traces
    from data.capabilities.vectors import manifest_of, vectors_of
    from evaluation.capability_split import parts_of
    from training.ranking.experience import Experience
    from training.ranking.past import Past
    from training.ranking.rewards import rewards_of

    opened = Catalogue.open(catalogue)
    traces = Traces.open(catalogue, opened)
    part = parts_of(traces.intents, config.split)
    return Experience(
        catalogue=opened,
        traces=traces,
        intents=vectors_of(intents, "intents"),
        capabilities=vectors_of(intents, "capabilities"),
        tools=vectors_of(intents, "tools"),
        fingerprint=manifest_of(intents)["fingerprint"],
        part=part,
        reward=rewards_of(traces, config.td),
        past=Past.of(opened, traces, part, config.features),
    )


def _config(plan: Plan) -> TurnConfig:
    return TurnConfig(
        learn=plan.run.learn,
        name=plan.run.learn.tracking.register_as or f"{plan.run.name}-capabilities",
        store=plan.run.workspace.resolve() / "mlflow.db",
    )


def _learn(config: TurnConfig, inputs: Inputs, out: Path) -> LearnResult:
    import numpy as np

    from evaluation.report_capabilities import write_report
    from training.fingerprints import Fingerprints, code_fingerprint
    from training.ranking.champion import champion_of, promoted, registered
    from training.ranking.driver import learn
    from training.ranking.workers import on_workers
    from training.tracking import Tracker

    read = partial(read_experience, inputs["catalogue"].path, inputs["intents"].path, config.learn)
    experience, registry = read(), _registry(config)
    key = out.name
    champion = champion_of(registry, out)
    tracker = Tracker(config.learn.tracking, config.store, config.name, config.learn, out)
    made = learn(experience, config.learn, out, champion, key, on_workers(read, tracker.row))
    served = made["table"].get(made["kind"], {})
    run_id = tracker.end({name: float(value) for name, value in served.items()}, noted=True)
    fingerprints = Fingerprints(
        data=inputs["intents"].key,
        split=_judged_by(experience),
        encoder=experience.fingerprint,
        code=code_fingerprint(),
    )
    version = registered(registry, run_id, out, fingerprints, np.load(out / "reciprocal.npy"), key)
    crowned = promoted(registry, version, made["lost"], config.learn.promote)
    result = LearnResult(
        traces=len(experience.traces),
        intents=len(experience.intents),
        learned_from=len(experience.traces_in("train")),
        features=list(experience.features),
        registered_as=config.name,
        version=version.version,
        champion=crowned,
        verdict=_verdict(made, version.version, crowned),
        mlflow_run=run_id,
        **made,
    )
    write_report(result.model_dump(), config.name, out)
    return result


def _judged_by(experience: "Experience") -> str:
    """A digest of the intents that figures are of: those of two turns are paired only where these are the same."""
    import hashlib

    asked = sorted(experience.traces.intents[number] for number in experience.successes("test").intents.tolist())
    return hashlib.sha256("\0".join(asked).encode()).hexdigest()[:16]


def _verdict(made: Mapping[str, Any], version: int, crowned: bool) -> str:
    """A sentence: who is champion, and by which figures."""
    against = made["against_champion"]
    if against is None:
        first = "the first, and " if version == 1 else ""
        return f"version {version} is {first}{'champion' if crowned else 'challenger'}"
    told = (
        f"{against['difference']:+.4f} MRR against version {against['version']:.0f} on the same test intents "
        f"({against['difference_low']:+.4f} to {against['difference_high']:+.4f}, p = {against['p_value']:.4f})"
    )
    if made["lost_by"] == "calibration":
        return f"version {version} stays challenger, as its scores are not calibrated and the champion's are: {told}"
    if made["lost"]:
        return f"version {version} loses and stays challenger: {told}"
    return f"version {version} is {'champion' if crowned else 'challenger, ready for a canary'}: {told}"


LEARN = Stage(
    name="learn",
    result=LearnResult,
    config=_config,
    make=_learn,
    needs=lambda plan: {"catalogue": "catalogue", "intents": "intents"},
    wanted=lambda plan: False,
    absent=no_catalogue,
    on_ray=True,
    version=5,  # few failures are no outcomes to calibrate by; the result says what probabilities are of
)


def learn_turn(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """One turn of the loop; a turn over the same traces that is done already is kept.

    A running service takes up what was learned where it is champion; a challenger waits until somebody brings it.

    Returns:
        ``run``, ``learn`` (a ``LearnResult``), ``versions`` of the registry, the ``artifact`` and its ``report``, and
        ``service``: why a running service cannot take up the champion; None where it does, or is not to.

    Raises:
        InputError: if the champion does not fit the traces, or learned from more of them.
    """
    made = _turn_over_the_same(plan) or plan.bring("learn")
    registry = registry_of(plan)
    champion, service = registry.champion(), None
    crowned = champion is not None and champion.version == made.result["version"]
    if crowned and plan.run.serve.capability_model in (None, "champion"):
        from ray_apps.served_capabilities import offer_capabilities

        service = offer_capabilities(plan)
    versions = [asdict(version) for version in registry.versions()]
    told = {"artifact": str(made.path), "report": str(made.path / "report.html")}
    return {"run": plan.run.name, "learn": made.result, "versions": versions, "service": service, **told}


def _turn_over_the_same(plan: Plan) -> Artifact | None:
    """The last turn, where a service has kept more since, but nothing that made or changed a trace."""
    from ray_apps.served_capabilities import last_made

    own, catalogue = plan.artifact("learn"), plan.bring("catalogue")
    folder = None if own.done else last_made(plan, "learn")
    if folder is None:
        return None
    identity = json.loads((folder / "config.json").read_text())
    before = catalogue.path.parent / identity["inputs"]["catalogue"] / "result.json"
    content = catalogue.result.get("content")  # tables that were made before they had one are as good as new
    if not content or not before.exists() or json.loads(before.read_text()).get("content") != content:
        return None
    logger.info("learn: no trace is new since the turn in %s: it is kept", folder.name)
    return Artifact("learn", folder.name, folder, identity)


def shown(result: Mapping[str, Any]) -> str:
    """The table of all rankers, then what is served, what messages did, what the log says, and the verdict."""
    learned = result["learn"]
    columns = ("mrr", "hit@1", "hit@3", "hit@5", "ndcg@5", "map", "coverage", "gini", "ece", "ece@1", "brier")
    rows = {name: {key: one[key] for key in columns if key in one} for name, one in learned["table"].items()}
    lines = [*([figures_table("test intents", rows)] if rows else []), learned["sentence"], learned["calibration"]]
    if learned["message_share"] is not None:
        lines.append(f"messages make {learned['message_share']:.1%} of the network's states")
    lines += [f"logged choices, {who}: {_estimates(of)}" for who, of in learned["counterfactual"].items()]
    lines += [f"{learned['registered_as']}: {learned['verdict']}", f"report: {result['report']}"]
    return "\n".join([*lines, *([result["service"]] if result.get("service") else [])])


def _estimates(of: Mapping[str, Mapping[str, Any]]) -> str:
    """Estimates by their kinds; one reason where there is none for the same reason."""
    from evaluation.counterfactual import NAMES

    reasons = {one.get("refused") for one in of.values()}
    if len(reasons) == 1 and None not in reasons:
        return f"no estimate: {reasons.pop()}"
    return ", ".join(f"{NAMES[kind]} {_estimate(one)}" for kind, one in of.items())


def _estimate(one: Mapping[str, Any]) -> str:
    if "refused" in one:
        return f"none ({one['refused']})"
    return f"{one['value']:.4f}" + (f" ({one['low']:.4f} to {one['high']:.4f})" if "low" in one else "")


COMMAND = Command(
    name="learn",
    summary="learn from traces which capability to run: one turn, compared with the champion and registered",
    call=learn_turn,
    show=shown,
    sections=("catalogue", "encoder", "learn"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["learn", *sys.argv[1:]]))
