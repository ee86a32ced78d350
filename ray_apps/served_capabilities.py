"""Which ranker of capabilities is served with a run: what it learned last, or a version of MLflow's registry."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts import Artifact, StageResult, locate, materialise
from data.errors import InputError
from ray_apps.learn import registry_of
from ray_apps.plan import Plan

if TYPE_CHECKING:
    from serving.artifacts import CapabilityArtifacts
    from serving.traffic import Traffic
    from training.registry import Registry, Version

logger = logging.getLogger("catena")

LEARN = "learn"
MODEL = "model"  # the folder of an artifact or a version that holds a ranker
KEPT = "kept"  # what an artifact's config says of a service's journals
REMEDY = "`catena learn RUN.yaml` makes one."
BRING_BOTH = (
    "`catena index RUN.yaml` and then `catena deploy promote RUN.yaml` bring it together with an index of its encoder."
)
BRING_AGAIN = "`catena deploy promote RUN.yaml` brings it again."


def capability_artifacts(plan: Plan) -> "CapabilityArtifacts | None":
    """The ranker that ``serve.capability_model`` names; where it names none, what the run learned last.

    Where that has lost, or was not to be promoted, it is the champion, if there is one.

    Returns:
        Where it is, with the catalogue and the vectors of intents that are there; None where nothing was learned.

    Raises:
        InputError: if the registry has no such version or cannot be reached, or the version has no ranker.
    """
    from serving.artifacts import CapabilityArtifacts

    which = plan.run.serve.capability_model
    if plan.run.catalogue is None:
        if which is None:
            return None
        raise InputError("serve.capability_model: the run file has no `catalogue`", "Add one, or leave the key out.")
    version: int | None = None
    if which is None:
        learned = last_made(plan, LEARN)
        if learned is None:
            return None
        turn = _result(learned)
        if not turn.get("champion", True) and registry_of(plan).champion() is not None:
            which = "champion"
        else:
            folder, version = ranker_in(learned), turn.get("version")
    if which is not None:
        registry = registry_of(plan)
        found = registry.find(which)
        folder, version = _files_of(plan, registry, found), found.version
    catalogue, intents = last_made(plan, "catalogue"), last_made(plan, "intents")
    traces = "" if catalogue is None else _result(catalogue).get("content", "")
    return CapabilityArtifacts(
        ranker=folder.resolve(), catalogue=catalogue, intents=intents, traces=traces, version=version
    )


def _result(folder: Path) -> dict[str, Any]:
    """What a stage has measured."""
    told: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return told


def last_made(plan: Plan, stage: str) -> Path | None:
    """The output of a stage that the run has made last.

    Traces that a service keeps change what the stages behind the catalogue are made of, with each answer. So where the
    plan's own artifact is not made yet, it is the latest that differs in nothing but those.

    Args:
        plan: of the run.
        stage: its name; there need be no such stage.
    """
    if stage not in plan.stages:
        return None
    own = plan.artifact(stage)
    if own.done:
        return own.path
    made = [done.parent for done in own.path.parent.glob("*/_SUCCESS")]
    alike = [folder for folder in made if _alike(plan, stage, folder)]
    return max(alike, key=lambda folder: (folder / "_SUCCESS").stat().st_mtime) if alike else None


def ranker_in(folder: Path) -> Path:
    """The folder of a ranker in an artifact.

    Raises:
        InputError: if there is none.
    """
    from training.ranking.served import ABOUT

    if (folder / MODEL / ABOUT).exists():
        return folder / MODEL
    raise InputError(f"{folder} has no ranker of capabilities", REMEDY)


def follow_capabilities(plan: Plan) -> str | None:
    """Have a run's service take up the ranker that the run names; all else of its live release stays.

    Where ranker and traces are those that are live, nothing changes.

    Returns:
        The release that is live with it now; None where the run is not served, or nothing was learned.

    Raises:
        InputError: if the ranker does not fit the live release, since it takes other vectors or other features, or if
            it was live before and something else was chosen since.
    """
    from ray_apps.serve import traffic_of
    from serving.traffic import change_traffic, read_traffic

    path, artifacts = traffic_of(plan), capability_artifacts(plan)
    if artifacts is None or read_traffic(path) is None:
        return None
    after = change_traffic(path, lambda traffic: traffic and with_capabilities(traffic, artifacts))
    return None if after is None else after.live


def offer_capabilities(plan: Plan) -> str | None:
    """Have a run's service take up what a turn has learned; a turn that is done is kept, whatever the service says.

    Returns:
        Why the service keeps the ranker that it has, and what to do; None where it follows, or the run is not served.
    """
    try:
        follow_capabilities(plan)
    except InputError as error:
        told = f"the turn is kept, but the running service stays with the ranker that it has: {error.problem}"
        return f"{told}. {error.remedy}"
    return None


def with_capabilities(traffic: "Traffic", artifacts: "CapabilityArtifacts") -> "Traffic":
    """The traffic with another ranker in the place of the live release's.

    Raises:
        InputError: as of ``follow_capabilities``.
    """
    from serving.traffic import now, with_live

    live, before = traffic.releases[traffic.live], traffic.releases.get(traffic.previous or "")
    try:
        check_capabilities(artifacts, live.index)
    except InputError as error:
        raise InputError(error.problem, BRING_BOTH) from None
    changed = {"capabilities": artifacts, "made": now()}
    release = live.model_copy(update=changed).identified()
    if before is not None and release.ranks_as(before) and not release.ranks_as(live):
        raise InputError(f"{artifacts.name} was live before, and was taken back", BRING_AGAIN)
    return with_live(traffic, release)


def check_capabilities(artifacts: "CapabilityArtifacts", index: Path) -> None:
    """Open a ranker before any service does.

    Raises:
        InputError: if it takes vectors of another encoder than the index, or features that are not computed here.
    """
    from retrieval.open import read_meta
    from serving.open_capabilities import check_ranker, intent_encoder
    from training.ranking.served import CapabilityRanker

    ranker = CapabilityRanker.open(artifacts.ranker)
    check_ranker(ranker, artifacts.ranker, intent_encoder(read_meta(index)))


def _files_of(plan: Plan, registry: "Registry", version: "Version") -> Path:
    """A version's ranker: the workspace's own where that is what was registered, else fetched."""
    own = plan.run.workspace / LEARN / version.train
    if version.train and (own / "_SUCCESS").exists():
        return ranker_in(own)

    def fetch(out: Path) -> StageResult:
        registry.load(version.version, version.fingerprints, out)  # whether it fits is seen when it is opened
        ranker_in(out)
        return StageResult()

    identity = {"store": registry.store, "name": registry.name, "version": version.version, "run_id": version.run_id}
    return ranker_in(materialise(locate(plan.run.workspace, "registered", identity), fetch).path)


def _alike(plan: Plan, stage: str, folder: Path) -> bool:
    """Whether a made artifact differs from the plan's own only in how much of the journals it has read."""
    own, inputs = plan.artifact(stage), plan.inputs(stage)
    if folder.name == own.key:
        return True
    made = _described(folder)
    if made is None or _without_kept(made) != _without_kept(dict(own.identity)):
        return False
    return all(_alike(plan, inputs[name].stage, _sibling(inputs[name], key)) for name, key in made["inputs"].items())


def _without_kept(described: dict[str, Any]) -> dict[str, Any]:
    config = {name: value for name, value in described["config"].items() if name != KEPT}
    return {**described, "config": config, "inputs": sorted(described["inputs"])}


def _sibling(artifact: Artifact, key: str) -> Path:
    return artifact.path.parent / key


def _described(folder: Path) -> dict[str, Any] | None:
    """What decided an artifact."""
    try:
        described: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    return described
