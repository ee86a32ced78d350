"""The part of the report on search: which pipeline finds most, whether that is chance, and where it loses."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import charts, page
from evaluation.metrics import parse_metric

LEVEL = 0.05  # corrected p-values below it are marked
PAIRS_SHOWN = 12  # rows of the table of comparisons; of more, those with the default pipeline alone
MEANING = {
    "ndcg": "nDCG says how well the order follows the grades",
    "recall": "Recall how many of the relevant documents are found",
    "p": "Precision how many of those found are relevant",
    "mrr": "MRR how early the first relevant one comes",
    "map": "MAP how early all of them come",
    "hit": "Hit whether there is one",
    "rprec": "R-precision how many of the first R are relevant where there are R",
}

Figures = Mapping[str, Mapping[str, float]]
Names = Mapping[str, str]


def search_parts(figures: Figures, details: Mapping[str, Any], names: Names) -> list[str]:
    """The tables, charts and losses of the pipelines.

    Args:
        figures: pipeline -> metric -> mean.
        details: of ``evaluation.retrieval.evaluate_retrieval``.
        names: of the pipelines, for people.
    """
    default, metric = details["default"], details["metric"]
    ranked = sorted(figures, key=lambda name: -figures[name][metric])
    title = parse_metric(metric).title
    values = [figures[name][metric] for name in ranked]
    ends = [details["intervals"][name][metric] for name in ranked]
    shown = [names.get(name, name) for name in ranked]
    intervals = [(low, high) for low, high in ends]
    bars = charts.bars(shown, values, intervals, names.get(default, default), width=charts.NARROW)
    return [
        page.prose(_asked(details, list(figures[default]))),
        page.panel(_table(figures, details, ranked, names)),
        page.prose(_marks(details, names), note=True),
        page.columns(
            page.stack(page.panel(bars, title), page.panel(_times(details, ranked, names), "Time of a question")),
            page.panel(_recall(details, ranked, names), "Recall@k"),
        ),
        *_win_loss(details, ranked, names, title),
        page.prose(_left_out(details), note=True),
        *_comparisons(details, names, title),
        *_losses(details, ranked, names, title),
    ]


def _asked(details: Mapping[str, Any], metrics: Sequence[str]) -> str:
    measures = dict.fromkeys(parse_metric(metric).measure for metric in metrics)
    meaning = ", ".join(MEANING[measure] for measure in measures)
    return (
        f"{details['queries']:,} questions with known answers were asked. {meaning}; @k: among the first k. Below each "
        "mean is its 95% bootstrap interval over questions."
    )


def _table(figures: Figures, details: Mapping[str, Any], ranked: Sequence[str], names: Names) -> str:
    metrics = list(figures[ranked[0]])
    notes = [
        [page.Note(_interval(details["intervals"][name][m]), _mark(details, name, m)) for m in metrics]
        for name in ranked
    ]
    return page.table(
        ["search by", *(parse_metric(metric).title for metric in metrics)],
        [(names.get(name, name), [figures[name][metric] for metric in metrics]) for name in ranked],
        ["{:.4f}"] * len(metrics),
        ["high"] * len(metrics),
        names.get(details["default"], details["default"]),
        notes,
    )


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f}–{ends[1]:.3f}"


def _mark(details: Mapping[str, Any], name: str, metric: str) -> str:
    """How a pipeline's figure compares with the default's, where that is not chance."""
    for row in details["comparisons"]:
        if (row["metric"], row["a"], row["b"]) == (metric, details["default"], name) and row["p_holm"] < LEVEL:
            return "worse" if row["difference"] > 0 else "better"
    return ""


def _marks(details: Mapping[str, Any], names: Names) -> str:
    default = names.get(details["default"], details["default"])
    return (
        f"▲ better and ▼ worse than {default}, which a search uses by default: p < {LEVEL} in a paired randomisation "
        "test over questions, corrected by Holm's method for all pairs of the column."
    )


def _recall(details: Mapping[str, Any], ranked: Sequence[str], names: Names) -> str:
    curves = {names.get(n, n): list(enumerate(details["recall_curve"][n], start=1)) for n in ranked}
    default = names.get(details["default"], details["default"])
    return charts.curves(curves, "k", "share of relevant documents", default, width=charts.NARROW)


def _win_loss(details: Mapping[str, Any], ranked: Sequence[str], names: Names, title: str) -> list[str]:
    """Per-query differences of each pipeline to the default one."""
    default = names.get(details["default"], details["default"])
    panels = []
    for name in ranked:
        if name in details["win_loss"]:
            counted = details["win_loss"][name]
            chart = charts.win_loss(counted["differences"], details["queries"], f"difference of {title}")
            below = f"{counted['better']:,} better, {counted['equal']:,} equal, {counted['worse']:,} worse"
            heading = f"{names.get(name, name)} against {default}"
            panels.append(page.panel(chart + page.prose(below, note=True), heading))
    return [page.columns(*panels)] if panels else []


def _times(details: Mapping[str, Any], ranked: Sequence[str], names: Names) -> str:
    times = [(names.get(name, name), details["milliseconds"][name]) for name in ranked]
    if "encoding_ms" in details:
        times.append(("encoding the question", details["encoding_ms"]))
    return page.table(
        ["search by", "median", "95th percentile"],
        [(name, [of["median"], of["p95"]]) for name, of in times],
        ["{:,.2f} ms"] * 2,
        ["low"] * 2,
    )


def _left_out(details: Mapping[str, Any]) -> str:
    """What the figures do not say by themselves: how time was measured, and what was left out."""
    apart = "search from its vector on" if "encoding_ms" in details else "encoding and search"
    parts = [f"Time: a question's share of its batch, {apart}, in this process."]
    counts = {
        "without_judgements": "questions without judgements were left out.",
        "without_relevant": "questions without a relevant document were left out.",
        "without_text": "judged questions are not among the corpus's questions.",
        "seen_questions": "questions were left out: the encoder was fine-tuned on answers to them.",
    }
    parts += [f"{details[key]:,} {what}" for key, what in counts.items() if details.get(key)]
    unknown = details.get("unknown_documents", {})
    if unknown.get("documents"):
        named = ", ".join(unknown["examples"])
        parts.append(
            f"{unknown['documents']:,} of the judged documents are not in the corpus ({named}; judgements of them: "
            f"{unknown['judgements']:,}); the relevant ones count as not found."
        )
    return " ".join(parts)


def _comparisons(details: Mapping[str, Any], names: Names, title: str) -> list[str]:
    """Every pair of pipelines on the metric that decides."""
    rows = [row for row in details["comparisons"] if row["metric"] == details["metric"]]
    if len(rows) > PAIRS_SHOWN:
        rows = [row for row in rows if row["a"] == details["default"]]
    if not rows:
        return []
    keys = ("difference", "difference_low", "difference_high", "p_value", "p_bootstrap", "p_holm")
    table = page.table(
        ["pair", "difference", "95% from", "to", "p", "p, bootstrap", "p, Holm"],
        [
            (f"{names.get(row['a'], row['a'])} − {names.get(row['b'], row['b'])}", [row[key] for key in keys])
            for row in rows
        ],
        ["{:+.4f}"] * 3 + ["{:.4f}"] * 3,
    )
    return [page.panel(table, f"{title}, pair by pair")]


def _losses(details: Mapping[str, Any], ranked: Sequence[str], names: Names, title: str) -> list[str]:
    """The questions that each pipeline loses worst, closed until the reader opens them."""
    boxes = []
    for name in ranked:
        rows = details["losses"].get(name, [])
        if rows:
            which = "question" if len(rows) == 1 else f"{len(rows)} questions"
            heading = f"{names.get(name, name)}: the {which} it loses worst"
            boxes.append(page.expandable(heading, _lost(rows, names.get(name, name), names, title)))
    return boxes


def _lost(rows: Sequence[Mapping[str, Any]], name: str, names: Names, title: str) -> str:
    asked = []
    for row in rows:
        rival = names.get(row["against"], row["against"])
        wanted = [(one["name"], _ranks(one, name, rival), one["text"]) for one in row["wanted"]]
        found = [
            (one["name"], f"rank {rank}" + (", relevant" if one["relevant"] else ""), one["text"])
            for rank, one in enumerate(row["found"], start=1)
        ]
        figures = f"{title}: {name} {row['value']:.3f}, {rival} {row['against_value']:.3f}"
        asked.append((row["text"], figures, [("Relevant", wanted), (f"Found by {name}", found)]))
    return page.questions(asked)


def _ranks(document: Mapping[str, Any], name: str, rival: str) -> str:
    own = "not found" if document["rank"] is None else f"rank {document['rank']}"
    return f"{name}: {own}, {rival}: rank {document['rank_against']}"
