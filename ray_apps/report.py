"""Gather what the finished stages of a run measured into one report, in ``reports/RUN`` of the workspace."""

import re
from pathlib import Path
from typing import Any

from ray_apps.config import RunConfig
from ray_apps.plan import Plan


def report_folder(run: RunConfig) -> Path:
    """Where the report of a run is, written or not; what a file name cannot hold of the run's name becomes ``-``."""
    return run.workspace.resolve() / "reports" / (re.sub(r"[^\w.-]+", "-", run.name).strip(".-") or "run")


def write_run_report(plan: Plan, folder: Path | None = None) -> Path:
    """Write ``report.json`` and ``report.html`` of what is done now, in the place of an older report.

    Args:
        plan: of the run.
        folder: of the report; that of the run where None.

    Returns:
        Path of the page.
    """
    from discovery.proposals import read_best
    from evaluation.report import PROPOSALS_SHOWN, write_report
    from ray_apps.summary import JUDGED, results_of

    results = results_of(plan)
    ingested, embedded = results.get("ingest", {}), results.get("embed", {})
    judged = {part: results.get(stage, {}) for part, stage in JUDGED.items()}
    counts = {
        "documents": ingested.get("documents"),
        "passages": embedded.get("passages"),
        "links": ingested.get("links"),
    }
    report: dict[str, Any] = {
        "run": plan.run.name,
        "counts": {what: count for what, count in counts.items() if count is not None},
        "encoder": _encoder(plan, embedded),
        "seconds": {stage: result["seconds"] for stage, result in results.items()},
        **{stage: results[stage] for stage in ("embed", "boosted", "graph", "train", "discover") if stage in results},
        **{part: result.get("figures", {}) for part, result in judged.items()},
        "details": {part: result["details"] for part, result in judged.items() if result},
        "missing": _missing(plan),
    }
    if "discover" in results:
        report["proposals"] = read_best(plan.artifact("discover").path / "links", PROPOSALS_SHOWN)
    folder = report_folder(plan.run) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    return write_report(report, folder)


def _encoder(plan: Plan, embedded: dict[str, Any]) -> str:
    """Name and precision of the encoder; nothing where the source has no text."""
    if not plan.run.source.has_text:
        return ""
    return " ".join([embedded.get("encoder", plan.run.encoder.label), embedded.get("precision", "")]).strip()


def _missing(plan: Plan) -> dict[str, str]:
    """A sentence for each part of the report that this run cannot have."""
    from ray_apps.summary import JUDGED

    missing = {}
    for part, stage in JUDGED.items():
        reason = plan.stages[stage].absent(plan)
        if reason is not None:
            missing[part] = reason.problem
    if "links" in missing:
        missing["train"] = "No link model was trained."
        missing["discover"] = "No missing links are proposed: there is no link model."
    return missing
