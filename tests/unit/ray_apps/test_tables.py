"""Results as tables."""

from ray_apps.tables import readable, table


def test_columns_are_aligned_and_numbers_stand_right() -> None:
    assert table(("method", "mrr"), [("cosine", 0.03612), ("adamic_adar", 0.137)]).splitlines() == [
        "method          mrr",
        "-----------  ------",
        "cosine       0.0361",
        "adamic_adar  0.1370",
    ]


def test_table_without_rows_has_its_header() -> None:
    assert table(("stage", "seconds"), []) == "stage  seconds\n-----  -------"


def test_summary_shows_every_method_in_one_table_and_the_report() -> None:
    result = {
        "run": "demo",
        "ingest": {"documents": 2000, "links": 900, "rejects": 1},
        "embed": {"passages": 2100, "documents_per_s": 61.5},
        "retrieval": {},
        "links": {"model": {"mrr": 0.5, "hit@10": 0.9}, "cosine": {"mrr": 0.4, "hit@10": 0.8}},
        "seconds": {"ingest": 1.5, "embed": 30.25},
        "report": "workspace/evaluate/x/report.html",
    }
    lines = readable("run", result).splitlines()
    assert lines[0] == "demo: 2,000 documents, 900 links, 2,100 passages, 1 rejected rows"
    assert "model   0.5000  0.9000" in lines
    assert "cosine  0.4000  0.8000" in lines
    assert lines[-1] == "report: workspace/evaluate/x/report.html"


def test_hits_show_title_identity_score_and_text_on_one_line() -> None:
    hit = {"document_id": "d1", "title": "Inverse", "text": "How to\n  invert", "score": 0.5}
    assert readable("search", {"hits": [hit]}) == "  1. Inverse  [d1]  0.5000\n     How to invert"
    assert readable("search", {"hits": [{**hit, "title": ""}]}) == "  1. d1  0.5000\n     How to invert"
    assert readable("search", {"hits": []}) == "nothing found"


def test_proposals_show_the_labels_of_both_documents() -> None:
    link = {"probability": 0.5, "source_label": "d1", "target_label": "Inverse [d2]", "relation": "r", "reason": "Why."}
    assert readable("discover", {"proposals": [link]}) == "  1. 0.500  d1 -> Inverse [d2]  (r)\n     Why."
