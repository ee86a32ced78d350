"""The whole job: every stage of a run that is not yet done, and its results."""

import logging
import sys
from argparse import Namespace
from typing import Any

from data.errors import StageAbsent
from ray_apps.command import Command
from ray_apps.evaluate import judge
from ray_apps.plan import Plan
from ray_apps.report import write_run_report
from ray_apps.summary import summary
from ray_apps.tables import summary_text

logger = logging.getLogger("catena")


def run(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Make every stage and return the run's summary; stages that are done are kept.

    A graph without text has no search. A corpus without links, or with so few that none can be held out, has search but
    nothing to train on: training and discovery are left out. The log says so.
    """
    plan.bring("ingest")
    try:
        plan.bring("index")
    except StageAbsent as reason:
        logger.info("No index is made, links are learnt: %s", reason.problem)
    judge(plan)
    try:
        plan.bring("discover")
    except StageAbsent as reason:
        logger.info("No links are proposed, search works: %s", reason.problem)
    write_run_report(plan)
    return summary(plan)


def dry_run(plan: Plan) -> dict[str, Any]:
    """The run's whole configuration, and where each stage's artifact is or would be."""
    stages = {name: plan.artifact(name) for name in plan.names()}
    return {
        "run": plan.run.name,
        "config": plan.run.model_dump(mode="json"),
        "artifacts": {stage: {"path": str(made.path), "done": made.done} for stage, made in stages.items()},
    }


COMMAND = Command(
    name="run",
    summary="every stage that is not yet done, then the table of results",
    call=run,
    show=summary_text,
    sections=("source", "steps", "chunk", "encoder", "embed", "index", "graph", "train", "evaluate", "discover"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["run", *sys.argv[1:]]))
