"""Gather what the finished stages of a run measured into one report."""

from pathlib import Path
from typing import Any

from discovery.proposals import read_best
from evaluation.report import PROPOSALS_SHOWN, write_report
from ray_apps.config import RunConfig
from ray_apps.stages import artifact, stages_of


def write_run_report(run: RunConfig) -> Path:
    """Write ``report.json`` and ``report.html`` into the evaluation's artifact; later stages write them anew.

    Returns:
        Path of the page.
    """
    stages = {stage: artifact(run, stage) for stage in stages_of(run)}
    results = {stage: made.result for stage, made in stages.items() if made.done}
    ingested, embedded, evaluated = (results.get(stage, {}) for stage in ("ingest", "embed", "evaluate"))
    counts = {
        "documents": ingested.get("documents"),
        "passages": embedded.get("passages"),
        "links": ingested.get("links"),
    }
    report: dict[str, Any] = {
        "run": run.name,
        "counts": {what: count for what, count in counts.items() if count is not None},
        "encoder": " ".join([embedded.get("encoder", run.encoder.label), embedded.get("precision", "")]).strip(),
        "seconds": {stage: result["seconds"] for stage, result in results.items()},
        **{stage: results[stage] for stage in ("embed", "graph", "train", "discover") if stage in results},
        **{part: evaluated.get(part, {}) for part in ("retrieval", "links", "details")},
        "missing": _missing(evaluated.get("missing", {})),
    }
    if stages["discover"].done:
        report["proposals"] = read_best(stages["discover"].path / "links", PROPOSALS_SHOWN)
    return write_report(report, stages["evaluate"].path)


def _missing(sentences: dict[str, str]) -> dict[str, str]:
    """A sentence for each absent part; without enough links there is also no training and no discovery."""
    if "links" not in sentences:
        return sentences
    return {
        **sentences,
        "train": "No link model was trained.",
        "discover": "No missing links are proposed: there is no link model.",
    }
