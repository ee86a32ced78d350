"""Several runs evaluated by one command: each run's tables, and the mean over their corpora."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ray_apps.tables import figures_table, summary_text


def over_corpora(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summaries of several runs, and the mean of their figures of search, each corpus counting alike.

    Args:
        summaries: of the runs, as of ``ray_apps.summary``.

    Returns:
        ``runs``: the summaries; ``corpora``: names of the runs whose search was evaluated; ``retrieval``: by pipeline
        the means over these of the metrics that all have, of the pipelines that all have; ``retrieval_default``: the
        pipeline that all use by default, None where they differ.
    """
    judged = [summary for summary in summaries if summary["retrieval"]]
    tables: list[Mapping[str, Mapping[str, float]]] = [summary["retrieval"] for summary in judged]
    pipelines = [name for name in (tables[0] if tables else {}) if all(name in table for table in tables)]
    means = {}
    for name in pipelines:
        metrics = [metric for metric in tables[0][name] if all(metric in table[name] for table in tables)]
        means[name] = {metric: fmean(table[name][metric] for table in tables) for metric in metrics}
    defaults = {summary["retrieval_default"] for summary in judged}
    return {
        "runs": list(summaries),
        "corpora": [summary["run"] for summary in judged],
        "retrieval": means,
        "retrieval_default": defaults.pop() if len(defaults) == 1 else None,
    }


def evaluation_text(result: Mapping[str, Any]) -> str:
    """What ``catena evaluate`` shows: a run's summary; of several runs each one's, and the mean over the corpora."""
    if "runs" not in result:
        return summary_text(result)
    parts = [summary_text(summary) for summary in result["runs"]]
    if result["retrieval"]:
        parts += [
            f"mean over {', '.join(result['corpora'])}:",
            figures_table("retrieval", result["retrieval"], result["retrieval_default"]),
        ]
    return "\n\n".join(parts)
