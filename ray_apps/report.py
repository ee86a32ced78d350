"""Gather what the finished stages of a run measured into one report."""

from pathlib import Path
from typing import Any

from discovery.proposals import read_best
from evaluation.report import PROPOSALS_SHOWN, write_report
from ray_apps.config import RunConfig
from ray_apps.stages import STAGES, artifact, asked_for


def write_run_report(run: RunConfig) -> Path:
    """Write ``report.json`` and ``report.html`` into the evaluation's artifact; later stages write them anew.

    Returns:
        Path of the page.
    """
    stages = {stage: artifact(run, stage) for stage in STAGES if asked_for(run, stage)}
    results = {stage: made.result for stage, made in stages.items() if made.done}
    ingested, evaluated = results.get("ingest", {}), results.get("evaluate", {})
    counts = {
        "documents": ingested.get("documents"),
        "passages": results.get("embed", {}).get("passages"),
        "links": ingested.get("links"),
    }
    report: dict[str, Any] = {
        "run": run.name,
        "counts": {what: count for what, count in counts.items() if count is not None},
        "encoder": " ".join([run.encoder.model, results.get("embed", {}).get("precision", "")]).strip(),
        "seconds": {stage: result["seconds"] for stage, result in results.items()},
        **{stage: results[stage] for stage in ("embed", "graph", "train", "discover") if stage in results},
        **{part: evaluated.get(part, {}) for part in ("retrieval", "links", "details")},
        "missing": _missing(evaluated.get("missing", {})),
    }
    if stages["discover"].done:
        report["proposals"] = read_best(stages["discover"].path / "links", PROPOSALS_SHOWN)
    return write_report(report, stages["evaluate"].path)


def _missing(sentences: dict[str, str]) -> dict[str, str]:
    """A sentence for each absent part; without links there is also no training and no discovery."""
    if "links" not in sentences:
        return sentences
    return {
        **sentences,
        "train": "No link model was trained: the corpus has no links.",
        "discover": "No missing links are proposed: the corpus has no links to learn from.",
    }
