"""Results as tables."""

import re
import sys

import pytest

from ray_apps.tables import figures, forms, hits, proposals, summary_text, table


def test_columns_are_aligned_and_numbers_stand_right() -> None:
    assert table(("method", "mrr"), [("cosine", 0.03612), ("adamic_adar", 0.137)]).splitlines() == [
        "method           mrr",
        "────────────────────",
        "cosine        0.0361",
        "adamic_adar   0.1370",
    ]


def test_numbers_of_a_column_have_as_many_decimals_as_fit_the_largest() -> None:
    assert table(("rank",), [(10.4572,), (426.31,), (3.0,)]).splitlines()[2:] == [" 10.5", "426.3", "  3.0"]
    assert table(("s",), [(9.346,), (25.806,), ("",)]).splitlines()[2:4] == [" 9.35", "25.81"]
    mixed = table(("", ""), [("seconds", 9.345), ("passages", 1200), ("precision", "bf16"), ("share", 0.0104)])
    assert "9.3450" in mixed and "1,200" in mixed and "0.0104" in mixed


def test_table_without_rows_has_its_header() -> None:
    assert table(("stage", "seconds"), []) == "stage   seconds\n───────────────"


def test_summary_shows_every_method_in_one_table_and_the_report() -> None:
    result = {
        "run": "demo",
        "finetune": {"frozen": {"mrr": 0.3, "cosine": 0.5}, "tuned": {"mrr": 0.375, "cosine": 0.5}, "kept": "tuned"},
        "ingest": {"documents": 2000, "links": 900, "rejects": 1},
        "embed": {"passages": 2100, "documents_per_s": 61.5},
        "retrieval": {},
        "links": {"model": {"mrr": 0.5, "hit@10": 0.9}, "cosine": {"mrr": 0.4, "hit@10": 0.8}},
        "seconds": {"ingest": 1.5, "embed": 30.25},
        "report": "workspace/reports/demo/report.html",
    }
    lines = summary_text(result).splitlines()
    assert lines[0] == "demo: 2,000 documents, 900 links, 2,100 passages, 1 rejected rows"
    assert "model    0.5000   0.9000" in lines
    assert "tuned      0.3750   0.5000" in lines
    assert "cosine   0.4000   0.8000" in lines
    assert lines[-1] == "report: workspace/reports/demo/report.html"


def test_hits_show_title_identity_score_and_text_on_one_line() -> None:
    hit = {"document_id": "d1", "title": "Inverse", "text": "How to\n  invert", "score": 0.5}
    assert hits({"hits": [hit]}) == "  1. Inverse  [d1]  0.5000\n     How to invert"
    assert hits({"hits": [{**hit, "title": ""}]}) == "  1. d1  0.5000\n     How to invert"
    assert hits({"hits": []}) == "nothing found"


def test_proposals_show_the_labels_of_both_documents() -> None:
    link = {"probability": 0.5, "source_label": "d1", "target_label": "Inverse [d2]", "relation": "r", "reason": "Why."}
    assert proposals({"proposals": [link]}) == "  1. 0.500  d1 -> Inverse [d2]  (r)\n     Why."


def test_a_long_text_is_cut_between_words_and_wrapped_below_its_number_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hit = {"document_id": "d1", "title": "", "text": "whales and ships " * 20, "score": 0.5}
    head, text = hits({"hits": [hit]}).splitlines()
    assert text.endswith("whales and …") and len(text) <= 5 + 202
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    first, *lines = hits({"hits": [hit]}).splitlines()
    assert first == head and len(lines) == 4 and all(len(line) <= 60 for line in lines)
    assert [line[:5] for line in lines] == [" " * 5] * 4 and " ".join(line.strip() for line in lines) == text.strip()


def test_the_gate_s_table_fits_a_terminal_and_leaves_out_what_was_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    line = {"form": "torch fp32", "documents_per_s": 11.234, "speedup": 1.0, "cosine_min": 1.0, "cosine_mean": 1.0}
    lines = [
        {**line, "ndcg_at_10": None, "ndcg_loss": None, "accepted": True, "reason": "the reference"},
        {**line, "form": "onnx int8", "ndcg_at_10": None, "ndcg_loss": None, "accepted": False, "reason": "slow"},
    ]
    checked = {"forms": lines, "questions": 0, "passages": 100, "of_passages": 600, "picked": "torch fp32"}
    head, _, first, second, *rest = forms({"encoder": checked, "artifact": "gate/1"}).splitlines()
    assert "nDCG@10" not in head and "documents/s" in head
    assert re.sub(r"\x1b\[[0-9;]*m", "", first).split()[-1] == "accepted" and "refused" in second
    assert rest[:3] == ["", "torch fp32: accepted, the reference", "onnx int8: refused, slow"]
    assert rest[-2:] == ["100 of 600 passages, no questions, so cosine and speed decide; picked: torch fp32", "gate/1"]


def test_a_result_without_parts_is_one_table() -> None:
    shown = figures({"run": "demo", "put": 1200, "deleted": 1, "artifact": "workspace/live/demo"})
    assert next(line.split() for line in shown.splitlines() if line) == ["demo"]
    assert ["put", "1,200"] in [line.split() for line in shown.splitlines()]
    assert shown.endswith("workspace/live/demo") and "run" not in shown
    assert "documents" in figures({"run": "demo", "ingest": {"documents": 3}}) != ""


def test_a_summary_says_what_is_chance_and_which_is_the_default() -> None:
    compared = {"metric": "ndcg@10", "a": "hybrid", "b": "bm25", "difference": 0.0341, "difference_low": -0.01}
    result = {
        "run": "demo",
        "ingest": {},
        "embed": {},
        "retrieval": {"bm25": {"ndcg@10": 0.5}, "hybrid": {"ndcg@10": 0.5341}},
        "retrieval_default": "hybrid",
        "retrieval_comparisons": [{**compared, "difference_high": 0.06, "p_value": 0.25, "p_holm": 0.5}],
        "links": {},
        "seconds": {"ingest": 1.5},
        "report": None,
    }
    lines = [line.split() for line in summary_text(result).splitlines()]
    assert ["ndcg@10,", "hybrid", "-", "bm25", "0.0341", "-0.0100", "0.0600", "0.2500", "0.5000"] in lines
    assert ["hybrid", "is", "the", "default"] in lines
