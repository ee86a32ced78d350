"""The whole job: every stage of a run that is not yet done, and what came of it."""

import logging
import sys
from typing import Any

from ray_apps.config import RunConfig
from ray_apps.stages import artifact, stages_of

logger = logging.getLogger("catena")


def run_all(run: RunConfig) -> dict[str, Any]:
    """Bring every stage to its end and return the run's summary; stages that are done are kept.

    A corpus without links, or with so few that none can be held out, has search but nothing to train on: training and
    discovery are left out and said so.
    """
    from ray_apps.evaluate import evaluate
    from ray_apps.index import index
    from ray_apps.train import train, why_untrainable

    index(run)
    obstacle = why_untrainable(run)
    if obstacle is None:
        train(run)
    else:
        logger.info("%s No links are proposed; search works.", obstacle)
    evaluate(run)
    if obstacle is None:
        from ray_apps.discover import discover

        discover(run)
    return summary(run)


def summary(run: RunConfig) -> dict[str, Any]:
    """What the finished stages of a run measured, as JSON values.

    Returns:
        ``run``, ``ingest``, ``embed``, ``retrieval``, ``links`` (figures of search and of the link model beside their
        baselines; empty where the corpus gives no occasion), ``seconds`` by stage, and the path of the ``report``.
    """
    stages = {stage: artifact(run, stage) for stage in stages_of(run)}
    results = {stage: made.result for stage, made in stages.items() if made.done}
    evaluated = results.get("evaluate", {})
    return {
        "run": run.name,
        "ingest": results.get("ingest", {}),
        "embed": results.get("embed", {}),
        "retrieval": evaluated.get("retrieval", {}),
        "links": evaluated.get("links", {}),
        "seconds": {stage: result["seconds"] for stage, result in results.items()},
        "report": str(stages["evaluate"].path / "report.html") if evaluated else None,
    }


def plan(run: RunConfig) -> dict[str, Any]:
    """The run's whole configuration, and where each stage's artifact is or would be."""
    stages = {stage: artifact(run, stage) for stage in stages_of(run)}
    return {
        "run": run.name,
        "config": run.model_dump(mode="json"),
        "artifacts": {stage: {"path": str(made.path), "done": made.done} for stage, made in stages.items()},
    }


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["run", *sys.argv[1:]]))
