"""The report: both files, every part or a sentence for it, nothing fetched, nothing executed, ids unique."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evaluation.report import render, write_report

FIGURES = {
    "mrr": 0.19,
    "hit@10": 0.4,
    "hit@100": 0.7,
    "mean_rank": 900.0,
    "mrr_low": 0.18,
    "mrr_high": 0.2,
    "heart_mrr": 0.11,
    "auc": 0.953,
    "ap": 0.9612,
}
MRR = {"model": 0.19, "adamic_adar": 0.14, "cosine": 0.0361}
CALIBRATED = {"ece": 0.0123, "brier": 0.08, "reliability": [{"promised": 0.2, "observed": 0.3, "cases": 100}] * 2}
COMPARED = {"difference": 0.04, "difference_low": 0.03, "difference_high": 0.05, "p_value": 0.0001}
BIN = {"promised": 0.02, "observed": 0.03, "cases": 100}
METRICS = ("ndcg@10", "recall@100", "mrr@10", "map", "hit@1", "hit@5", "hit@10")
TESTED = {**COMPARED, "p_bootstrap": 0.0002, "p_holm": 0.0003}
LOST = {
    "query": "q1",
    "text": "who <wrote> it?",
    "value": 0.0,
    "against": "hybrid",
    "against_value": 1.0,
    "wanted": [{"id": "d1", "name": "בראשית", "text": "In the beginning", "rank": None, "rank_against": 1}],
    "found": [{"id": "d2", "name": "Exodus", "text": "And these", "relevant": False}],
}
SEARCHED = {
    "default": "hybrid",
    "metric": "ndcg@10",
    "queries": 225,
    "without_judgements": 7,
    "without_relevant": 3,
    "without_text": 2,
    "seen_questions": 0,
    "unknown_documents": {"documents": 2, "judgements": 3, "examples": ["x1", "x2"]},
    "intervals": {mode: {metric: [0.25, 0.35] for metric in METRICS} for mode in ("bm25", "hybrid")},
    "comparisons": [{"metric": metric, "a": "hybrid", "b": "bm25", **TESTED} for metric in METRICS],
    "win_loss": {"bm25": {"better": 50, "equal": 75, "worse": 100, "differences": [0.5, 0.0, -1.0]}},
    "recall_curve": {"bm25": [0.1, 0.2, 0.3], "hybrid": [0.2, 0.3, 0.4]},
    "losses": {"bm25": [LOST], "hybrid": []},
    "milliseconds": {"bm25": {"median": 1.25, "p95": 2.5}, "hybrid": {"median": 10.0, "p95": 12.0}},
}


@pytest.fixture
def report() -> dict[str, Any]:
    search = {"ndcg@10": 0.3, "recall@100": 0.7, "mrr@10": 0.5, "map": 0.2, "hit@1": 0.4, "hit@5": 0.6, "hit@10": 0.7}
    return {
        "run": "a <run> & more",
        "counts": {"documents": 31102, "passages": 31200, "links": 1},
        "encoder": "all-MiniLM-L6-v2 bf16",
        "seconds": {"embed": 410.2, "train": 540.25},
        "embed": {"documents_per_s": 212.0},
        "graph": {
            "degree_mean": 14.4,
            "degree_median": 9.0,
            "isolated": 17,
            "largest_component": 29300,
            "degree_histogram": {"1": 30, "2": 50, "4": 8},
        },
        "train": {
            "history": [
                {"epoch": e, "loss": 6.0 / e, "valid_mrr": 0.1 + 0.02 * (e == 2), "seconds": 60.0} for e in (1, 2, 3)
            ]
        },
        "retrieval": {"bm25": search, "hybrid": {**search, "ndcg@10": 0.425}},
        "links": {"model": FIGURES, "adamic_adar": {**FIGURES, "mrr": 0.14}, "cosine": {**FIGURES, "mrr": 0.0361}},
        "details": {
            "retrieval": SEARCHED,
            "links": {
                "test_links": 3000,
                "documents": 31102,
                "curves": {name: [[1, 0.1], [10, 0.4], [31101, 1.0]] for name in ("model", "adamic_adar", "cosine")},
                "hard_negatives": 500,
                "by_degree": [
                    {"low": 0, "high": 1, "links": 100, "mrr": MRR},
                    {"low": 2, "high": 4, "links": 900, "mrr": MRR},
                    {"low": 64, "high": None, "links": 2000, "mrr": MRR},
                ],
                "by_relation": [{"relation": f"<{n}>", "links": 1500, "mrr": MRR} for n in range(2)],
                "calibration": {
                    "model": {"before": CALIBRATED, "after": CALIBRATED},
                    "cosine": {"after": {**CALIBRATED, "ece": 0.0456}},
                },
                "comparison": {"best_baseline": "adamic_adar", "ratio": 1.357, **COMPARED},
            },
        },
        "discover": {
            "candidates": 843302,
            "kept": 10000,
            "calibration": {
                "measured_on": 417282,
                "ece": 0.0005,
                "brier": 0.0048,
                "brier_of_base_rate": 0.0049,
                "top": {"cases": 5000, "promised": 0.059, "observed": 0.052, "reliability": [BIN, BIN]},
            },
        },
        "proposals": [
            {
                "probability": 0.5,
                "source_label": "<b>בראשית</b>",
                "target_label": "Micah",
                "relation": "refers",
                "reason": "Both are linked with “Psalms”; text similarity 0.93.",
            }
        ],
        "missing": {},
    }


class Page(HTMLParser):
    """Collects what the assertions ask for, and checks that every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_whole_report(report: dict[str, Any]) -> None:
    page = Page(render(report))
    # two bars, two curves, win and loss, by degree, reliability, loss, validation, discovery, seconds, degrees
    assert page.tags["svg"] == 12
    assert page.tags["table"] == 6  # search, its times, its pairs, links, by relation, calibration
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == page.tags["b"] - 6 == 0  # six cards
    assert [address for address in page.addresses if not address.startswith("#")] == ["report.json"]
    for expected in (
        "a <run> & more",
        "31,102 documents · 31,200 passages · 1 link ·",
        "×1.36",
        "225 questions",
        "0.250–0.350",
        "50 better, 75 equal, 100 worse",
        "hybrid − BM25",
        "1.25 ms",
        "7 questions without judgements",
        "3 questions without a relevant",
        "2 judged questions are not among",
        "2 of the judged documents are not in the corpus (x1, x2; judgements of them: 3)",
        "BM25: the question it loses worst",
        "who <wrote> it?",
        "BM25: not found, hybrid: rank 1 · In the beginning",
        "Exodus",
        "the model of epoch 2 was kept",
        "<b>בראשית</b>",
        "p < 0.001",
        "A document has 14.4 links",
        "among 500 negatives of each link",
        "0.9612",
        "2–3",
        "64+",
        "0.0456",
        "<1>",
    ):
        assert expected in page.text
    twice = [name for name, count in Counter(page.ids).items() if count > 1]
    assert all(name.startswith(("m", "p")) for name in twice), "only equal definitions may share an id"


def test_the_best_is_bold_and_every_baseline_stands_there(report: dict[str, Any]) -> None:
    html = render(report)
    assert "<strong>0.1900</strong>" in html
    assert "<td class=number>0.1400</td>" in html
    assert "Adamic–Adar" in html
    assert "text similarity" in html
    assert "<strong>0.4250</strong>" in html


def test_both_files_are_written_and_written_anew(report: dict[str, Any], tmp_path: Path) -> None:
    assert write_report(report, tmp_path) == tmp_path / "report.html"
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == report
    first = (tmp_path / "report.html").read_bytes()
    write_report(report, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_absent_parts_say_what_is_missing() -> None:
    page = Page(render({"run": "bare", "missing": {"links": "The corpus has no links."}}))
    assert "The corpus has no links." in page.text
    assert page.text.count("This stage has not run yet.") == 3
    assert page.tags["svg"] == 0


@pytest.mark.parametrize("part", ["retrieval", "links", "train", "discover", "graph", "seconds", "proposals", "embed"])
def test_any_part_may_be_absent(report: dict[str, Any], part: str) -> None:
    del report[part]
    if part in report["details"]:
        del report["details"][part]
    assert "Catena report" in Page(render(report)).text


def test_a_calibration_that_could_not_be_learnt_has_no_diagram(report: dict[str, Any]) -> None:
    report["discover"]["calibration"] = {"method": "base rate", "measured_on": 3}
    assert Page(render(report)).tags["svg"] == 11


def test_links_that_were_judged_by_ranks_alone_have_no_further_parts(report: dict[str, Any]) -> None:
    for part in ("hard_negatives", "by_degree", "by_relation", "calibration"):
        del report["details"]["links"][part]
    page = Page(render(report))
    assert page.tags["svg"] == 10 and page.tags["table"] == 4


def test_charts_show_the_best_methods_alone(report: dict[str, Any]) -> None:
    for n in range(9):
        report["links"][f"method {n}"] = {**FIGURES, "mrr": 0.05 + 0.001 * n}
        report["details"]["links"]["curves"][f"method {n}"] = [[1, 0.1], [31101, 1.0]]
        for row in (*report["details"]["links"]["by_degree"], *report["details"]["links"]["by_relation"]):
            row["mrr"] = {**row["mrr"], f"method {n}": 0.05}
    text = Page(render(report)).text
    assert text.count("method 8") > text.count("method 2") == 2  # a row and a bar


def test_what_is_no_chance_is_marked_on_the_other_pipeline(report: dict[str, Any]) -> None:
    html = render(report)
    assert html.count("▼") == len(METRICS) + 1 and html.count("▲") == 1  # the note names both
    rows = [{**row, "p_holm": 0.2} for row in SEARCHED["comparisons"]]
    report["details"]["retrieval"] = {**SEARCHED, "comparisons": rows}
    assert render(report).count("▼") == 1
    rows = [{**row, "difference": -0.1} for row in SEARCHED["comparisons"]]
    report["details"]["retrieval"] = {**SEARCHED, "comparisons": rows}
    assert render(report).count("▲") == len(METRICS) + 1


def test_one_pipeline_alone_has_nothing_to_compare(report: dict[str, Any]) -> None:
    del report["retrieval"]["bm25"]
    nothing = {"comparisons": [], "win_loss": {}, "losses": {"hybrid": []}}
    report["details"]["retrieval"] = {**SEARCHED, **nothing}
    page = Page(render(report))
    assert page.tags["svg"] == 11 and page.tags["details"] == 0 and "pair by pair" not in page.text


def test_of_many_pipelines_the_pairs_with_the_default_one_are_shown(report: dict[str, Any]) -> None:
    rows = [{"metric": "ndcg@10", "a": a, "b": b, **TESTED} for a in ("hybrid", "m1", "m2", "m3") for b in "wxyz"]
    report["details"]["retrieval"] = {**SEARCHED, "comparisons": rows}
    text = Page(render(report)).text
    assert "hybrid − z" in text and "m1 − z" not in text


LEARNED = {
    "learned_from": "judgments of split train",
    "questions": 807,
    "trees": 120,
    "ndcg": {"first": 0.7347, "reranked": 0.7553},
    "compared": COMPARED,
    "beats": True,
    "importances": {"gain": {"bm25_score": 0.8, "text_terms": 0.2}, "split": {"bm25_score": 31.0, "text_terms": 9.0}},
}


def test_what_a_learned_ranker_goes_by_is_told(report: dict[str, Any]) -> None:
    page = render({**report, "boosted": LEARNED})
    assert "120 trees trained on 807 questions (judgments of split train)" in page
    assert "nDCG@10 0.7553" in page and "no sure gain" not in page
    assert page.count("bm25 score") == 2, "in the chart and in the table"
    assert "learned ranker" not in render(report)
    assert "no sure gain" in render({**report, "boosted": {**LEARNED, "beats": False}})
    nothing = {"gain": {}, "split": {}}
    assert "have no splits" in render({**report, "boosted": {**LEARNED, "importances": nothing}})


def test_the_time_of_encoding_stands_apart_where_it_was_taken_apart(report: dict[str, Any]) -> None:
    together = Page(render(report)).text
    assert "encoding and search" in together and "encoding the question" not in together
    report["details"]["retrieval"] = {**SEARCHED, "encoding_ms": {"median": 3.25, "p95": 4.5}}
    apart = Page(render(report)).text
    assert "search from its vector on" in apart and "encoding the question" in apart and "3.25 ms" in apart
