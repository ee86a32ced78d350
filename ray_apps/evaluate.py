"""Judge search and the link model against their baselines, and write the report."""

import logging
import sys
from argparse import Namespace
from typing import Any

from data.artifacts import Artifact
from data.errors import StageAbsent
from ray_apps.command import Command
from ray_apps.corpora import evaluation_text, over_corpora
from ray_apps.plan import Plan
from ray_apps.report import write_run_report
from ray_apps.summary import summary

logger = logging.getLogger("catena")

STAGES = ("evaluate_search", "evaluate_links")


def judge(plan: Plan) -> dict[str, Artifact]:
    """Bring both evaluations, each where the corpus gives occasion, and log why one is left out.

    What is made now also goes to MLflow, where the run tracks its trainings there.
    """
    judged: dict[str, Artifact] = {}
    plan.bring("ingest")
    for stage in STAGES:
        known = plan.artifact(stage).done
        try:
            judged[stage] = plan.bring(stage)
        except StageAbsent as reason:
            logger.info("evaluate: %s", reason.problem)
            continue
        if not known:
            _track(plan, stage, judged[stage])
    return judged


def _track(plan: Plan, stage: str, made: Artifact) -> None:
    """Put the figures into MLflow: into the store that the run names, or that its trainings have begun.

    A run without either, such as one that has no links, does not begin a store for a table of figures.
    """
    from training.tracking import Tracker

    tracking, store = plan.run.train.tracking, plan.run.workspace.resolve() / "mlflow.db"
    if tracking.uri is None and not store.exists():
        return
    config = plan.run.evaluate.search if stage == "evaluate_search" else plan.run.evaluate.links
    name, tags = f"{plan.run.name} {stage}", {"artifact": str(made.path)}
    tracker = Tracker(tracking, store, name, config, tags=tags, what="evaluation")
    figures = made.result["figures"]
    tracker.end({f"{method}/{metric}": value for method, of in figures.items() for metric, value in of.items()})


def evaluate(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Figures of search and of links, each where the corpus gives occasion, and the report.

    Returns:
        The run's summary (``ray_apps.summary``); of several runs, ``ray_apps.corpora.over_corpora`` of theirs.
    """
    summaries = []
    for one in (plan, *arguments.further):
        judge(one)
        write_run_report(one)
        summaries.append(summary(one))
    return over_corpora(summaries) if len(summaries) > 1 else summaries[0]


COMMAND = Command(
    name="evaluate",
    summary="search and link model against their baselines, with a report; of several runs, the mean too",
    call=evaluate,
    show=evaluation_text,
    sections=("source", "encoder", "index", "graph", "train", "ranker", "evaluate"),
    several=True,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["evaluate", *sys.argv[1:]]))
