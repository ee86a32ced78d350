"""Which link model is served with a run: its own, or a version of MLflow's registry, by number or alias."""

import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.artifacts import StageResult, locate, materialise
from data.errors import InputError
from ray_apps.plan import Plan
from ray_apps.registry import fingerprints, registry_of

if TYPE_CHECKING:
    from serving.artifacts import LinkArtifacts
    from serving.traffic import Traffic
    from training.registry import Registry, Version

logger = logging.getLogger("catena")


def link_artifacts(plan: Plan) -> "LinkArtifacts | None":
    """The link model that ``serve.link_model`` names; the run's own where it names none, or None if there is none.

    Raises:
        InputError: if the registry has no such version or cannot be reached, the version was made from other data or by
            another encoder, or the graph that it is asked over is not there.
    """
    from retrieval.open import read_meta
    from serving.artifacts import LinkArtifacts

    graph, own, which = plan.artifact("graph"), plan.artifact("train"), plan.run.serve.link_model
    if which is None and not (graph.done and own.done):
        return None
    if not graph.done:
        raise InputError(
            f"serve.link_model: there is no graph at {graph.path}, which a link model is asked over",
            "`catena train RUN.yaml` makes it, and so do `catena serve` and `catena deploy`.",
        )
    train, key, version = own.path, own.key, None
    if which is not None:
        registry = registry_of(plan)
        found = registry.find(which)
        train, key, version = _files_of(plan, registry, found), found.train, found.version
    meta = read_meta(plan.artifact("index").path)
    projection = None if meta.projection is None or meta.full_dim is None else meta.projection.resolve()
    return LinkArtifacts(
        graph=graph.path.resolve(),
        train=train.resolve(),
        calibrator=_calibrator(plan, key),
        projection=projection,
        version=version,
    )


def check_links(links: "LinkArtifacts") -> None:
    """Open a link model and score a pair, before any service does.

    Raises:
        InputError: if it cannot be opened, or the score is no number.
    """
    from discovery.predictor import LinkPredictor

    try:
        predictor = LinkPredictor(links.graph, links.train, links.calibrator)
        (row,) = predictor.pairs([(predictor.graph.ids[0], predictor.graph.ids[-1])])
    except (OSError, ValueError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"the link model in {links.train} cannot be opened: {reason}", "Train it again.") from error
    if not np.isfinite(row["score"]):
        raise InputError(f"the link model in {links.train} gives a pair the score {row['score']}", "Train it again.")


def with_champion(plan: Plan, traffic: "Traffic") -> "Traffic":
    """The traffic with the link model that the run names in the place of the live release's; all else stays.

    Args:
        plan: of a run that names an alias.
        traffic: of its service.

    Returns:
        As it was where the live release has that model, or is over another graph: of a corpus or an encoder that was
        changed since, which ``catena deploy promote`` brings with its index.
    """
    from serving.traffic import with_live

    live, links = traffic.releases[traffic.live], link_artifacts(plan)
    if links is None or (live.links is not None and live.links.graph != links.graph):
        logger.warning("the live release is over another graph: `catena deploy promote` brings the champion")
        return traffic
    check_links(links)
    return with_live(traffic, live.model_copy(update={"links": links}).identified())


def _files_of(plan: Plan, registry: "Registry", version: "Version") -> Path:
    """A folder like that of the train stage: the workspace's own where that is what was registered, else fetched."""
    from training.fingerprints import check_fits

    here = fingerprints(plan)
    check_fits(f"version {version.version} of {registry.name}", version.fingerprints, here)
    own = plan.run.workspace / "train" / version.train
    if version.train and (own / "_SUCCESS").exists():
        return own

    def fetch(out: Path) -> StageResult:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            model = registry.load(version.version, here, Path(folder))
            for file in model.iterdir():
                file.replace(out / file.name)
        _write_states(plan.artifact("graph").path, out)
        return StageResult()

    identity = {"store": registry.store, "name": registry.name, "version": version.version, "run_id": version.run_id}
    return materialise(
        locate(plan.run.workspace, "registered", identity, {"graph": plan.artifact("graph")}), fetch
    ).path


def _write_states(graph: Path, model: Path) -> None:
    """The states of all documents, which the registry does not keep: they follow from model and graph."""
    from data.graph.graph import load_graph
    from training.links.nodes import load_model
    from training.links.states import NODE_VECTORS, states_over
    from training.typed.model import is_typed
    from training.typed.scoring import WEIGHTS

    if is_typed(model / WEIGHTS):
        return
    opened = load_graph(graph)
    states_over(load_model(model / "model.safetensors"), opened, opened.seen_graph, model / NODE_VECTORS)


def _calibrator(plan: Plan, train: str) -> Path | None:
    """What the latest discovery with a model learnt of its scores; None where there was none with it.

    Args:
        plan: of the run.
        train: key of the model's artifact.
    """
    read = {"train": train, "graph": plan.artifact("graph").key}
    found = [
        one.parent
        for one in (plan.run.workspace.resolve() / "discover").glob("*/_SUCCESS")
        if read.items() <= json.loads((one.parent / "config.json").read_text())["inputs"].items()
    ]
    return max(found, key=lambda folder: (folder / "_SUCCESS").stat().st_mtime) / "calibrator.json" if found else None
