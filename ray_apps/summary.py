"""What the finished stages of a run measured, gathered."""

from typing import Any

from ray_apps.plan import Plan
from ray_apps.report import report_folder

JUDGED = {"retrieval": "evaluate_search", "links": "evaluate_links"}


def results_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Results of the run's stages that are done, by name, as JSON values."""
    stages = {name: plan.artifact(name) for name in plan.names()}
    return {name: made.result for name, made in stages.items() if made.done}


def summary(plan: Plan) -> dict[str, Any]:
    """What the finished stages of a run measured, as JSON values.

    Returns:
        ``run``, ``ingest``, ``embed``, ``finetune`` (figures of the encoder as it was and fine-tuned, and which of the
        two is ``kept``; empty where the run asks for none), ``retrieval``, ``links`` (figures of search and of the link
        model beside their baselines; empty where the corpus gives no occasion), ``retrieval_default`` (what a search
        uses by default; None where search was not evaluated), ``retrieval_comparisons`` (of every pair on the first
        metric, as of ``evaluation.significance.compare_systems``), ``seconds`` by stage, the path of the ``report``.
    """
    results = results_of(plan)
    finetuned = results.get("finetune", {})
    searched = results.get("evaluate_search", {}).get("details", {})
    page = report_folder(plan.run) / "report.html"
    return {
        "run": plan.run.name,
        "ingest": results.get("ingest", {}),
        "embed": results.get("embed", {}),
        "finetune": {key: finetuned[key] for key in ("frozen", "tuned", "kept") if finetuned},
        **{part: results.get(stage, {}).get("figures", {}) for part, stage in JUDGED.items()},
        "retrieval_default": searched.get("default"),
        "retrieval_comparisons": [
            row for row in searched.get("comparisons", []) if row["metric"] == searched["metric"]
        ],
        "seconds": {stage: result["seconds"] for stage, result in results.items()},
        "report": str(page) if page.exists() else None,
    }
