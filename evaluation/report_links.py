"""The parts of the report on which links a model finds, and how far its probabilities hold."""

from collections.abc import Mapping
from typing import Any

from evaluation import charts, page

IN_TABLE = 4  # methods beside each other in a table of the page's width
OTHERS_SHOWN = 5  # lines beside the model's in a chart: there are six colours, and more cannot be told apart

Figures = Mapping[str, Mapping[str, float]]
Names = Mapping[str, str]


def best_methods(figures: Figures, model: str = "model") -> list[str]:
    """The model, where there is one, and the methods of the highest MRR: those that charts show."""
    others = sorted((name for name in figures if name != model), key=lambda name: -figures[name]["mrr"])
    return [*([model] if model in figures else []), *others[:OTHERS_SHOWN]]


def link_parts(details: Mapping[str, Any], figures: Figures, names: Names) -> list[str]:
    """MRR by degree and by relation, and calibration; what was not measured is left out.

    Args:
        details: of the links' evaluation.
        figures: of every method.
        names: of the methods, for people.
    """
    shown = best_methods(figures)
    parts = [_by_degree(details.get("by_degree", []), shown, names)]
    parts += _by_relation(details.get("by_relation", []), shown, names)
    parts += _calibration(details.get("calibration", {}), figures, names)
    return [part for part in parts if part]


def _by_degree(rows: list[dict[str, Any]], shown: list[str], names: Names) -> str:
    if len(rows) < 2:
        return ""
    labels = [f"{_range(row['low'], row['high'])}\n({row['links']:,})" for row in rows]
    series = {names.get(name, name): [row["mrr"][name] for row in rows] for name in shown}
    chart = charts.groups(
        labels, series, "training links of the end that has fewer (test links)", "MRR", names.get("model")
    )
    return page.panel(chart, "MRR by how well documents are linked")


def _range(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else str(low) if high == low + 1 else f"{low}–{high - 1}"


def _by_relation(rows: list[dict[str, Any]], shown: list[str], names: Names) -> list[str]:
    if len(rows) < 2:
        return []
    shown = shown[:IN_TABLE]
    head = ["relation", "test links", *(names.get(name, name) for name in shown)]
    lines = [(row["relation"], [float(row["links"]), *(row["mrr"][name] for name in shown)]) for row in rows]
    table = page.table(head, lines, ["{:,.0f}", *["{:.3f}"] * len(shown)])
    return [page.panel(table, "MRR by relation")]


def _calibration(calibration: Mapping[str, Any], figures: Figures, names: Names) -> list[str]:
    if not calibration:
        return []
    rows = []
    for name in sorted(calibration, key=lambda name: -figures[name]["mrr"]):
        before, after = calibration[name].get("before", {}), calibration[name]["after"]
        cells = [before.get("ece"), after["ece"], before.get("brier"), after["brier"]]
        rows.append((names.get(name, name), cells))
    head = ["method", "ECE before", "ECE after", "Brier before", "Brier after"]
    table = page.table(head, rows, ["{:.4f}"] * 4, ["", "", "low", "low"], names.get("model", "model"))
    note = (
        "Scores as probabilities. Calibrated on validation links, measured on test links, each beside as many random "
        "and as many hard non-links: about one pair in three is a link. ECE is the mean gap between predicted and "
        "observed shares, the Brier score the mean squared error. Before calibration only log odds have a meaning."
    )
    model = calibration.get("model")
    below = page.prose(note, note=True)
    if model:
        diagram = charts.reliability_diagram(
            model["after"]["reliability"], model.get("before", {}).get("reliability", ())
        )
        below = page.columns(page.panel(diagram, "Predicted and observed, link model"), below)
    return [page.panel(table, "Calibration"), below]
