"""The report of a turn of learning: every ranker, calibration, and estimators beside the truth of a simulator."""

import re
from pathlib import Path
from typing import Any

import pytest

from evaluation import report_capabilities
from evaluation.report_capabilities import render, simulated, write_report

FIGURES = {"mrr": 0.5, "hit@1": 0.4, "hit@5": 0.6, "ndcg@5": 0.5, "map": 0.45, "coverage": 1.0, "gini": 0.2}
BETTER = {**FIGURES, "mrr": 0.7, "ece": 0.0123, "ece@1": 0.04, "ece@1_raw": 0.21, "brier": 0.05}
RESULT: dict[str, Any] = {
    "traces": 1200,
    "intents": 800,
    "kind": "centroid",
    "sentence": "the centroid step is served",
    "verdict": "version 2 is champion",
    "message_share": None,
    "table": {"cosine": FIGURES, "centroid": BETTER, "champion (version 1)": FIGURES},
    "reliability": {
        "before": [{"promised": 0.3, "observed": 0.12, "cases": 50}, {"promised": 0.9, "observed": 0.55, "cases": 50}],
        "after": [{"promised": 0.1, "observed": 0.12, "cases": 50}, {"promised": 0.6, "observed": 0.55, "cases": 50}],
    },
    "calibrated_by": "places",
    "calibration": "probabilities are of the first 10 places",
    "with_success": {"train": 500, "valid": 90, "judge": 90, "test": 120},
    "counterfactual": {"challenger": {"clipped_ips": {"value": 0.4, "effective": 90.0}, "dr": {"refused": "too few"}}},
}


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_the_page_has_all_rankers_calibration_and_estimators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report_capabilities, "LOGS", 3)
    page = write_report(RESULT, "shop", tmp_path).read_text(encoding="utf-8")
    told = text_of(page)
    wanted = (
        "centroid step is served",
        "champion (version 1)",
        "ECE is 0.0123",
        "No estimate: too few.",
        "version 2 is",
    )
    assert [words for words in wanted if words not in told] == []
    assert (
        "clipped IPS, challenger 0.4000" in told
        and "CLIPPED_IPS" not in page
        and "`" not in told
        and "epsilon-greedy, DR" in told
    )
    assert page.count("share that succeeded") == 2, "the axis of the reliability diagrams, before and after"
    assert "(ECE 0.2100)" in told and "(ECE 0.0400)" in told and "Before calibration" in told
    assert "<code>min_score</code>" in page and "Probabilities are of the first 10 places." in told
    assert "The first places of held-out intents promise" in told
    assert "class=ours><td>centroid step</td><td class=number><strong>0.7000</strong>" in page


def test_outcomes_that_are_all_alike_have_no_diagram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_capabilities, "LOGS", 2)
    nothing = {"reliability": {}, "calibrated_by": "nothing", "calibration": "scores are not calibrated"}
    page = render({**RESULT, **nothing}, "shop")
    assert "Scores are not calibrated." in text_of(page) and "share that succeeded" not in page


def test_what_was_run_is_not_called_a_first_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_capabilities, "LOGS", 2)
    told = text_of(render({**RESULT, "calibrated_by": "run"}, "shop"))
    assert "What was run for held-out intents was promised" in told and "first places of held-out" not in told


def test_no_ranker_is_best_by_what_its_own_places_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_capabilities, "LOGS", 2)
    table = {"popularity": {**BETTER, "mrr": 0.1, "ece": 0.001, "brier": 0.002, "ece@1": 0.003}, "centroid": BETTER}
    page = render({**RESULT, "table": table}, "shop")
    assert "<strong>0.7000</strong>" in page and not re.search(r"<strong>0\.00[123]0</strong>", page)


def test_a_turn_with_too_little_data_says_what_is_served_and_what_is_missing() -> None:
    counts = {"train": 12, "valid": 2, "judge": 3, "test": 4}
    cold = {"table": {}, "kind": "cosine", "sentence": "cosine is served: too few", "with_success": counts}
    told = text_of(render({**RESULT, **cold, "calibration": "scores are not calibrated"}, "shop"))
    for words in ("21 intents with a success", "judge: chooses what is served, and calibrates 3", "1,200 traces"):
        assert words in told
    assert "The scores are not calibrated" in told and "/v1/feedback" in told and "`" not in told


def test_the_simulation_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_capabilities, "LOGS", 2)
    assert simulated() == simulated()
