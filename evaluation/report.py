"""The report of a run: ``report.json`` for programs, ``report.html`` for people.

The report is one mapping, every part of which but ``run`` may be missing: ``run``, ``counts`` (documents, passages,
links), ``encoder``, ``seconds`` (stage -> seconds), ``embed``, ``boosted``, ``graph``, ``train``, ``discover`` (results
of the stages), ``retrieval`` and ``links`` (name -> figures), ``details`` (of both), ``proposals`` (rows of the
discovery table) and ``missing`` (part -> sentence).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import whole_or_absent
from evaluation import charts, page
from evaluation.metrics import parse_metric
from evaluation.report_links import best_methods, link_parts
from evaluation.report_ranker import ranker_parts
from evaluation.report_search import search_parts

NAMES = {
    "model": "link model",
    "feature_mlp": "features only (MLP)",
    "model_without_states": "link model without states",
    "cosine": "text similarity",
    "common_neighbours": "common neighbours",
    "adamic_adar": "Adamic–Adar",
    "resource_allocation": "resource allocation",
    "random_projection": "random projection of texts",
    "katz": "Katz",
    "personalised_pagerank": "personalised PageRank",
    "node2vec": "node2vec",
    "decoder_alone": "decoder alone",
    "relation_frequency": "relation frequency",
    "bm25": "BM25",
    "dense": "dense",
    "hybrid": "hybrid",
    "reranked": "reranked",
}
METRICS = {
    "mrr_typed": "MRR, typed",
    "auc": "AUC",
    "ap": "AP",
    "heart_mrr": "MRR, hard",
    "mrr": "MRR",
}
FURTHER = ("heart_mrr", "mrr_typed", "auc", "ap")
PROPOSALS_SHOWN = 25
NARROW = charts.NARROW  # charts beside another

Report = Mapping[str, Any]


def write_report(report: Report, out: Path) -> Path:
    """Write both files into ``out``, each in one step and only where it changes; return the page's path."""
    for name, content in (
        ("report.json", json.dumps(report, indent=2, ensure_ascii=False)),
        ("report.html", render(report)),
    ):
        if not (out / name).exists() or (out / name).read_text(encoding="utf-8") != content:
            with whole_or_absent(out / name) as unfinished:
                unfinished.write_text(content, encoding="utf-8")
    return out / "report.html"


def render(report: Report) -> str:
    """The page as HTML text."""
    counts = [
        f"{count:,} {what if count != 1 else what.removesuffix('s')}"
        for what, count in report.get("counts", {}).items()
    ]
    lead = " · ".join([*counts, *([f"encoder {report['encoder']}"] if report.get("encoder") else [])])
    return page.page(
        f"{report['run']} – Catena report",
        [
            page.header("Catena report", report["run"], lead),
            page.cards(_headline(report)),
            page.section("Search", *_search(report)),
            page.section("Link prediction", *_links(report)),
            page.section("Training", *_training(report)),
            page.section("Missing links", *_discovery(report)),
            page.section("Corpus and cost", *_corpus(report)),
            '<footer>Written by Catena. The same figures are in <a href="report.json">report.json</a>.</footer>',
        ],
    )


def _headline(report: Report) -> list[tuple[str, str]]:
    figures = []
    if report.get("retrieval"):
        metric = report["details"]["retrieval"]["metric"]
        best = max(report["retrieval"], key=lambda name: report["retrieval"][name][metric])
        title = f"{parse_metric(metric).title} of {NAMES.get(best, best)} search"
        figures.append((f"{report['retrieval'][best][metric]:.3f}", title))
    comparison = report.get("details", {}).get("links", {}).get("comparison")
    if comparison:
        figures.append((f"{report['links']['model']['mrr']:.3f}", "MRR of the link model"))
        figures.append(
            (f"×{comparison['ratio']:.2f}", f"against {NAMES[comparison['best_baseline']]}, the best baseline")
        )
    if report.get("discover"):
        figures.append((f"{report['discover']['kept']:,}", "missing links proposed"))
    if report.get("embed", {}).get("documents_per_s"):
        figures.append((f"{report['embed']['documents_per_s']:,.0f}/s", "documents embedded"))
    if report.get("seconds"):
        figures.append((_duration(sum(report["seconds"].values())), "for all stages together"))
    return figures


def _search(report: Report) -> list[str]:
    figures = report.get("retrieval")
    if not figures:
        return [page.prose(_missing(report, "retrieval"))]
    learned = ranker_parts(report["boosted"]) if "boosted" in report else []
    return [*search_parts(figures, report["details"]["retrieval"], NAMES), *learned]


def _links(report: Report) -> list[str]:
    figures = report.get("links")
    if not figures:
        return [page.prose(_missing(report, "links"))]
    details = report["details"]["links"]
    sentence = (
        f"{details['test_links']:,} links were held out of all training. From either end of each, all "
        f"{details['documents']:,} documents were ranked; known links do not compete, ties count half. MRR is the mean "
        "of 1 / rank, Hit@k the share found among the first k. Lines at the bars are 95% bootstrap intervals."
    )
    if details.get("hard_negatives"):
        sentence += (
            f" MRR, hard: among {details['hard_negatives']:,} negatives of each link that resource allocation, "
            "personalised PageRank or text similarity name first. AUC and AP: against as many pairs drawn at random "
            "from those that are not linked."
        )
    names = next(iter(figures.values()))
    metrics = [*(n for n in names if n == "mrr" or n.startswith("hit@")), *(n for n in FURTHER if n in names)]
    shown = best_methods(figures)
    curves = {NAMES.get(name, name): details["curves"][name] for name in shown if name in details["curves"]}
    chart = charts.curves(curves, "k", "share found within k", NAMES["model"], True, NARROW)
    parts = [
        page.prose(sentence),
        page.panel(_table(figures, metrics)),
        page.columns(page.panel(_bars(figures), "MRR"), page.panel(chart, "Hit@k")),
    ]
    if "comparison" in details:
        row = details["comparison"]
        parts.append(page.prose(_compared("The link model", NAMES[row["best_baseline"]], "MRR", row), note=True))
    return [*parts, *link_parts(details, figures, NAMES)]


def _training(report: Report) -> list[str]:
    history = report.get("train", {}).get("history")
    if not history:
        return [page.prose(_missing(report, "train"))]
    best = max(history, key=lambda epoch: epoch["valid_mrr"])
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    sentence = (
        f"{epochs} in {_duration(sum(epoch['seconds'] for epoch in history))}; the model of epoch {best['epoch']:.0f} "
        f"was kept, which ranked the validation links best (MRR {best['valid_mrr']:.3f})."
    )
    panels = [
        page.panel(
            charts.curves({title: [(e["epoch"], e[key]) for e in history]}, "epoch", "", title, width=NARROW), title
        )
        for title, key in (("Training loss", "loss"), ("Validation MRR", "valid_mrr"))
    ]
    return [page.prose(sentence), page.columns(*panels)]


def _discovery(report: Report) -> list[str]:
    result = report.get("discover")
    if not result:
        return [page.prose(_missing(report, "discover"))]
    calibration = result["calibration"]
    sentence = (
        f"Of {result['candidates']:,} candidate pairs, near in text or in the model, two steps apart, met by walks or "
        f"of the same rare words, the {result['kept']:,} most probable that are not yet linked were kept. A "
        "probability of 0.30 means: of the pairs with this score, 30 in 100 were held-out links that people had made. "
        "Pairs that nobody has linked yet count as failures even where they deserve a link, so the probabilities are "
        "rather too low than too high."
    )
    parts = [page.prose(sentence)]
    if "top" in calibration:
        top = calibration["top"]
        note = (
            f"Measured on {calibration['measured_on']:,} candidates that were not used for the calibration: "
            f"expected calibration error {calibration['ece']:.5f}, Brier score {calibration['brier']:.5f} (base rate "
            f"alone: {calibration['brier_of_base_rate']:.5f}). For the {top['cases']:,} most probable of them the mean "
            f"predicted probability was {top['promised']:.3f}, and a share of {top['observed']:.3f} were links. On the "
            "dashed line predicted and observed are equal; bars are 95% intervals."
        )
        chart = page.panel(charts.reliability_diagram(top["reliability"]), "Predicted and observed")
        parts.append(page.columns(chart, page.prose(note, note=True)))
    shown = [
        (row["probability"], row["source_label"], row["target_label"], row["relation"], row["reason"])
        for row in report.get("proposals", [])[:PROPOSALS_SHOWN]
    ]
    return [*parts, page.panel(page.link_list(shown), "The most probable links")] if shown else parts


def _corpus(report: Report) -> list[str]:
    panels = []
    seconds = report.get("seconds", {})
    if seconds:
        chart = charts.bars(list(seconds), list(seconds.values()), form="{:,.1f} s", width=NARROW)
        panels.append(page.panel(chart, "Seconds per stage"))
    degrees = {int(low): count for low, count in report.get("graph", {}).get("degree_histogram", {}).items()}
    if degrees:
        chart = charts.histogram(list(degrees), list(degrees.values()), "links of a document", "documents", NARROW)
        panels.append(page.panel(chart, "How many links documents have"))
    sentence = "What the corpus looks like, and the time that each stage took."
    if degrees:
        graph = report["graph"]
        sentence += (
            f" A document has {graph['degree_mean']:.1f} links on average, and the median is "
            f"{graph['degree_median']:.0f}; {graph['isolated']:,} have none; the largest connected component has "
            f"{graph['largest_component']:,} documents."
        )
    return [page.prose(sentence), page.columns(*panels)] if panels else [page.prose("No stage has finished yet.")]


def _table(figures: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    titles = [METRICS.get(metric, metric.replace("hit@", "Hit@")) for metric in metrics]
    rows = [
        (NAMES.get(name, name), [row.get(metric) for metric in metrics]) for name, row in _ranked(figures, metrics[0])
    ]
    count = len(metrics)
    return page.table(["method", *titles], rows, ["{:.4f}"] * count, ["high"] * count, NAMES["model"])


def _bars(figures: Mapping[str, Mapping[str, float]]) -> str:
    """MRR of every method with its interval."""
    ranked = _ranked(figures, "mrr")
    intervals = [(row["mrr_low"], row["mrr_high"]) if "mrr_low" in row else None for _, row in ranked]
    names = [NAMES.get(name, name) for name, _ in ranked]
    return charts.bars(names, [row["mrr"] for _, row in ranked], intervals, NAMES["model"], width=NARROW)


def _ranked(figures: Mapping[str, Mapping[str, float]], metric: str) -> list[tuple[str, Mapping[str, float]]]:
    return sorted(figures.items(), key=lambda item: -item[1][metric])


def _compared(name: str, other: str, metric: str, row: Mapping[str, float]) -> str:
    """One sentence on a paired comparison."""
    chance = "p < 0.001" if row["p_value"] < 0.001 else f"p = {row['p_value']:.3f}"
    return (
        f"{name} against {other}: {metric} differs by {row['difference']:+.4f} (95% interval "
        f"{row['difference_low']:+.4f} to {row['difference_high']:+.4f}, paired randomisation test {chance})."
    )


def _missing(report: Report, part: str) -> str:
    return str(report.get("missing", {}).get(part, "This stage has not run yet."))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min"
