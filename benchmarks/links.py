"""Link prediction by whole runs: quality against the best baseline of the same table, and how long all of it takes."""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks import discovery, link_gpu, link_kill, million, sampler, typed, workers
from benchmarks.link_seeds import measure_seeds
from benchmarks.link_speed import scoring_rows, training_rows
from benchmarks.parts import Measured, measure_all
from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS, whole_run
from data.graph.graph import load_graph
from ray_apps.config import load_run
from ray_apps.plan import Plan

AT_LEAST = {"demo": 0.58, "kjv": 0.26}
REACH = {"demo": 0.65, "kjv": 0.30}
MINUTES_AT_MOST = {"demo": 6.0, "kjv": 12.0}
HIT = {"kjv": (0.36, 0.42)}
CORA = {"auc": (0.930, 0.956), "ap": (0.935, 0.962)}


def measure(parts: str = "", seeds: int = 5) -> Measured:
    """Every figure of link learning, each run from nothing; two hours on two cores, of which half for ``million``.

    Args:
        parts: names of those to measure, by commas; all where empty.
        seeds: trainings and splits of the small corpora in the part ``seeds``.
    """
    every: dict[str, Callable[[], list[Row]]] = {name: partial(run_rows, name) for name in (*AT_LEAST, "cora")}
    every |= {"speed": speed_rows, "seeds": partial(measure_seeds, seeds)}
    every |= {
        module.__name__.split(".")[-1]: module.measure
        for module in (link_kill, typed, workers, sampler, discovery, million, link_gpu)
    }
    return measure_all("links", every, parts.split(",") if parts else ())


def run_rows(name: str) -> list[Row]:
    """The rows of one run, from nothing, in a workspace and a process of its own."""
    return rows_of(name, *whole_run(name))


def speed_rows() -> list[Row]:
    """How fast the KJV is trained and its pairs are scored."""
    with tempfile.TemporaryDirectory() as workspace:
        graph = load_graph(Plan(load_run(RUNS / "kjv.yaml", ["--workspace", workspace])).bring("graph").path)
        return [*training_rows(graph, "kjv"), *scoring_rows(graph, "kjv")]


def rows_of(name: str, summary: Mapping[str, Any], minutes: float) -> list[Row]:
    """The rows of one run.

    Args:
        name: of the run.
        summary: what ``catena run --json`` ends with.
        minutes: by the clock, from nothing.
    """
    mrr = {method: figures["mrr"] for method, figures in summary["links"].items()}
    model, ablated = mrr.pop("model"), mrr.pop("model_without_states", None)
    best = max(mrr, key=lambda method: mrr[method])
    listed = ", ".join(f"{method} {value:.4f}" for method, value in sorted(mrr.items(), key=lambda item: -item[1]))
    figures = summary["links"]["model"]
    rows = [
        Row(
            id=f"links.{name}_mrr",
            what=f"filtered MRR of the model on held-out links of {name}",
            value=round(model, 4),
            unit="MRR",
            at_least=AT_LEAST.get(name),
            reach=REACH.get(name),
            peer=listed,
        ),
        Row(
            id=f"links.{name}_mrr_ratio",
            what=f"the same over that of the best baseline ({best})",
            value=round(model / mrr[best], 4),
            unit="times",
            at_least=1.0,
            reach=1.03,
        ),
        Row(
            id=f"links.{name}_minutes",
            what=f"the whole run {name} from nothing, {summary['ingest']['documents']:,} documents",
            value=round(minutes, 2),
            unit="minutes",
            at_most=MINUTES_AT_MOST.get(name),
            peer=", ".join(f"{stage} {spent:.0f} s" for stage, spent in summary["seconds"].items()),
        ),
    ]
    if "hit@10" in figures:
        at_least, reach = HIT.get(name, (None, None))
        what, value = f"share of held-out links of {name} among the first ten", round(figures["hit@10"], 4)
        rows.append(
            Row(id=f"links.{name}_hit10", what=what, value=value, unit="Hit@10", at_least=at_least, reach=reach)
        )
    if "ece" in figures:
        what = f"expected calibration error of the model's probabilities on pairs of {name}, after calibration"
        rows.append(Row(id=f"links.{name}_ece", what=what, value=figures["ece"], unit="ECE", at_most=0.03, reach=0.01))
    if name == "cora":
        for figure, (least, reach) in CORA.items():
            what = f"{figure.upper()} of test links of Cora against as many other pairs, 85/5/10"
            value = round(figures[figure], 4)
            rows.append(Row(id=f"links.cora_{figure}", what=what, value=value, unit="", at_least=least, reach=reach))
    if ablated is not None:
        what = f"filtered MRR of the model on {name} over that of the same without its states"
        peer = f"model {model:.4f}; model_without_states {ablated:.4f}"
        rows.append(Row(id=f"links.{name}_states_ratio", what=what, value=model / ablated, unit="times", peer=peer))
    return rows
