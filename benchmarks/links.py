"""Link prediction by whole runs: quality against the best baseline of the same table, and how long all of it takes."""

import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rows import Row

logger = logging.getLogger("catena")

RUNS = Path(__file__).resolve().parents[1] / "runs"
RATIO_AT_LEAST = {"demo": 1.0, "kjv": 1.05}
RATIO_REACH = {"demo": None, "kjv": 1.3}
MINUTES_AT_MOST = {"demo": 6.0, "kjv": 25.0}


def measure() -> list[Row]:
    """Each run from nothing, in a workspace and a process of its own: its best ratio of MRR, and its minutes."""
    return [row for name in RATIO_AT_LEAST for row in _rows(name)]


def _rows(name: str) -> list[Row]:
    logger.info("bench links: the whole run %s, from nothing", name)
    summary, minutes = whole_run(name)
    mrr = {method: figures["mrr"] for method, figures in summary["links"].items()}
    model, ablated = mrr.pop("model"), mrr.pop("model_without_views", None)
    best = max(mrr, key=lambda method: mrr[method])
    listed = ", ".join(f"{method} {value:.4f}" for method, value in sorted(mrr.items(), key=lambda item: -item[1]))
    seconds = ", ".join(f"{stage} {spent:.0f} s" for stage, spent in summary["seconds"].items())
    rows = [
        Row(
            id=f"links.{name}_mrr_ratio",
            what=f"filtered MRR of the model on held-out links of {name}, over that of the best baseline ({best})",
            value=round(model / mrr[best], 4),
            unit="times",
            at_least=RATIO_AT_LEAST[name],
            reach=RATIO_REACH[name],
            peer=f"model {model:.4f}; {listed}",
        ),
        Row(
            id=f"links.{name}_minutes",
            what=f"the whole run {name} from nothing, {summary['ingest']['documents']:,} documents",
            value=round(minutes, 2),
            unit="minutes",
            at_most=MINUTES_AT_MOST[name],
            peer=seconds,
        ),
    ]
    if ablated is not None:
        what = f"filtered MRR of the model on held-out links of {name}, over that of the same without its graph views"
        peer = f"model {model:.4f}; model_without_views {ablated:.4f}"
        rows.append(Row(id=f"links.{name}_views_ratio", what=what, value=model / ablated, unit="times", peer=peer))
    return rows


def whole_run(name: str) -> tuple[dict[str, Any], float]:
    """The run's summary and its minutes by the clock, process start included."""
    with tempfile.TemporaryDirectory() as workspace:
        command = [sys.executable, "-m", "ray_apps.run", str(RUNS / f"{name}.yaml"), "--workspace", workspace, "--json"]
        started = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=RUNS.parent)
        minutes = (time.perf_counter() - started) / 60
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary, minutes
