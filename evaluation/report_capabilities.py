"""The report of a turn of learning to rank capabilities: all rankers, calibration, estimates and their worth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import whole_or_absent
from evaluation import charts, page
from evaluation.counterfactual import NAMES as ESTIMATORS
from evaluation.simulated import Judged, catalogue, judge, softmax

NAMES = {
    "popularity": "popularity",
    "random projection": "random projection",
    "bm25": "BM25",
    "cosine": "cosine",
    "cosine x success rate": "cosine × success rate",
    "centroid": "centroid step",
    "lambdamart": "LambdaMART",
    "hypergraph": "network",
}
COLUMNS = {"mrr": "MRR", "hit@1": "Hit@1", "hit@5": "Hit@5", "ndcg@5": "nDCG@5", "map": "MAP"}
MORE = {
    "coverage": "coverage",
    "gini": "Gini",
    "ece": "ECE",
    "ece@1_raw": "ECE, first place, before",
    "ece@1": "after",
    "brier": "Brier",
}
BEST_MORE = ("high", "", "", "", "", "")
LOGS, ROUNDS, RESAMPLES = 20, 500, 200  # of the simulation: a few seconds


def write_report(result: Mapping[str, Any], run: str, out: Path) -> Path:
    """Write ``report.html``.

    Args:
        result: of the turn: ``table``, ``kind``, ``sentence``, ``verdict``, ``calibrated_by``, ``calibration``,
            ``reliability``, ``counterfactual``, ``with_success`` and counts, as of ``catena learn``.
        run: its name.
        out: folder of the turn.
    """
    path = out / "report.html"
    with whole_or_absent(path) as unfinished:
        unfinished.write_text(render(result, run), encoding="utf-8")
    return path


def render(result: Mapping[str, Any], run: str) -> str:
    """The whole page; see ``write_report``."""
    served = NAMES[result["kind"]]
    lead = f"{result['traces']:,} traces of {result['intents']:,} intents; {result['sentence']}."
    if not result["table"]:
        return page.page(
            f"{run}: ranking capabilities", [page.header("Ranking capabilities", run, lead), *_cold(result)]
        )
    figures = _served(result)
    cards = [
        (served, "is served"),
        (f"{figures['mrr']:.3f}", "MRR on held-out intents"),
        (f"{figures['hit@1']:.1%}", "have what worked in the first place"),
        *([(f"{result['message_share']:.0%}", "of states are messages")] if result["message_share"] else []),
    ]
    parts = [
        page.header("Ranking capabilities", run, lead),
        page.cards(cards),
        page.section("Rankers", page.prose(f"{result['verdict']}."), _chart(result, served), _tables(result, served)),
        page.section("Probabilities", *_calibration(result, figures)),
        page.section("Logged choices", *_logged(result["counterfactual"])),
    ]
    return page.page(f"{run}: ranking capabilities", parts)


def _cold(result: Mapping[str, Any]) -> list[str]:
    """What there is and what is wanted, where nothing could be learned."""
    what = {
        "train": "learns",
        "valid": "chooses the epoch, and calibrates",
        "judge": "chooses what is served, and calibrates",
        "test": "is reported",
    }
    rows = [(f"{part}: {what[part]}", [count]) for part, count in result["with_success"].items()]
    cards = [
        (f"{result['traces']:,}", "traces"),
        (f"{result['intents']:,}", "distinct intents"),
        (f"{sum(result['with_success'].values()):,}", "intents with a success"),
    ]
    told = (
        f"{result['verdict']}. Capabilities are ranked by how alike their texts and the intent are. The "
        f"{result['calibration']}, so that `min_score` can only be tried out."
    )
    wanted = (
        "Intents are put into parts by a hash of their text, and each part wants 20 of them with a success. More "
        "traces come from files, or from `/v1/feedback` of the run's service; then `catena learn` makes the next turn."
    )
    return [
        page.cards(cards),
        page.section("What is served", page.prose(told)),
        page.section(
            "What is missing",
            page.prose(wanted),
            page.panel(page.table(["part", "intents with a success"], rows, ["{:,.0f}"])),
        ),
    ]


def _served(result: Mapping[str, Any]) -> Mapping[str, float]:
    """The figures of what is served."""
    figures: Mapping[str, float] = result["table"][result["kind"]]
    return figures


def _chart(result: Mapping[str, Any], served: str) -> str:
    ranked = sorted(result["table"].items(), key=lambda item: -item[1]["mrr"])
    names = [NAMES.get(name, name) for name, _ in ranked]
    return page.panel(charts.bars(names, [one["mrr"] for _, one in ranked], highlight=served), "MRR")


def _tables(result: Mapping[str, Any], served: str) -> str:
    ranked = sorted(result["table"].items(), key=lambda item: -item[1]["mrr"])

    def of(columns: Mapping[str, str], best: Sequence[str]) -> str:
        rows = [(NAMES.get(name, name), [one.get(key) for key in columns]) for name, one in ranked]
        return page.table(["ranker", *columns.values()], rows, ["{:.4f}"] * len(columns), best, served)

    told = (
        "ECE and Brier are each of a ranker's own outcomes, and no way to choose one: where nearly all fails, as "
        "in the first places of a ranker that is mostly wrong, it is easy to promise little."
    )
    return (
        page.panel(of(COLUMNS, ["high"] * len(COLUMNS))) + page.panel(of(MORE, BEST_MORE)) + page.prose(told, note=True)
    )


def _calibration(result: Mapping[str, Any], figures: Mapping[str, float]) -> list[str]:
    both = result["reliability"]
    basis = page.prose(f"{result['calibration'][0].upper()}{result['calibration'][1:]}.")
    if not both:
        return [basis]
    what = {
        "run": "What was run for held-out intents was promised",
        "places": "The first places of held-out intents promise",
    }
    told = (
        f"{what[result['calibrated_by']]}, in bins of equally many: by the softmax of their scores "
        f"(ECE {figures['ece@1_raw']:.4f}), and calibrated by other held-out intents, as `min_score` compares it "
        f"(ECE {figures['ece@1']:.4f}). Over all outcomes ECE is {figures['ece']:.4f}, Brier {figures['brier']:.4f}."
    )
    titles = {"before": "Before calibration", "after": "After"}
    panels = [
        page.panel(charts.reliability_diagram(both[name], observed="share that succeeded"), title)
        for name, title in titles.items()
    ]
    return [basis, page.prose(told), page.columns(*panels)]


def _logged(counterfactual: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Estimates from this run's log, and beside the truth of a simulator, where that is known."""
    rows = [(f"{ESTIMATORS[kind]}, {who}", one) for who, of in counterfactual.items() for kind, one in of.items()]
    numbers = [
        (name, [float(one["value"]), one.get("low"), one.get("high"), one.get("effective")])
        for name, one in rows
        if "refused" not in one
    ]
    refused = dict.fromkeys(str(one["refused"]) for _, one in rows if "refused" in one)
    parts = [page.prose(f"No estimate: {reason}.") for reason in refused]
    if numbers:
        head = ["estimate of what a round earns", "value", "95% from", "to", "effective rounds"]
        parts.append(page.panel(page.table(head, numbers, ["{:.4f}"] * 3 + ["{:,.0f}"])))
    told = (
        f"How far such estimates can be trusted, by a simulator that knows the truth: {LOGS} logs of {ROUNDS} rounds "
        "of each policy; `catena bench rank --parts estimators` takes 200. Coverage is the share of 95% intervals that "
        "hold the truth."
    )
    return [*parts, page.prose(told), page.panel(_beside_truth(simulated()), "Estimators beside the truth")]


def simulated() -> list[Judged]:
    """Each estimator beside the truth; always the same."""
    return judge(catalogue(), lambda scores: softmax(scores, 0.2), rounds=ROUNDS, times=LOGS, resamples=RESAMPLES)


def _beside_truth(judged: Sequence[Judged]) -> str:
    rows = [
        (
            f"{one.policy}, {ESTIMATORS[one.kind]}",
            [one.truth, one.truth + one.bias, one.bias, one.deviation, one.coverage],
        )
        for one in judged
    ]
    head = ["logged by, estimator", "truth", "mean estimate", "bias", "deviation", "coverage"]
    return page.table(head, rows, ["{:.4f}", "{:.4f}", "{:+.4f}", "{:.4f}", "{:.3f}"])
