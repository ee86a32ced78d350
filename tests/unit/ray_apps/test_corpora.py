"""Several runs evaluated by one command: the mean over their corpora, and what is shown."""

from typing import Any

from ray_apps.corpora import evaluation_text, over_corpora


def summary(name: str, retrieval: dict[str, dict[str, float]], default: str | None = "hybrid") -> dict[str, Any]:
    return {
        "run": name,
        "ingest": {"documents": 10},
        "embed": {},
        "finetune": {},
        "retrieval": retrieval,
        "retrieval_default": default if retrieval else None,
        "links": {},
        "seconds": {"ingest": 1.0},
        "report": None,
    }


def test_every_corpus_counts_alike_and_what_one_lacks_is_left_out() -> None:
    found = over_corpora(
        [
            summary("one", {"bm25": {"ndcg@10": 0.5, "map": 0.5}, "hybrid": {"ndcg@10": 0.75, "map": 0.5}}),
            summary("none", {}),
            summary("two", {"bm25": {"ndcg@10": 0.25}, "hybrid": {"ndcg@10": 0.25}, "late": {"ndcg@10": 1.0}}),
        ]
    )
    assert found["retrieval"] == {"bm25": {"ndcg@10": 0.375}, "hybrid": {"ndcg@10": 0.5}}
    assert found["corpora"] == ["one", "two"] and len(found["runs"]) == 3
    assert found["retrieval_default"] == "hybrid"
    text = evaluation_text(found)
    assert [part in text for part in ("one: 10 documents", "none: 10", "two: 10")] == [True] * 3
    last = text.split("mean over one, two:")[1]
    assert "0.3750" in last and "late" not in last and last.endswith("hybrid is the default")


def test_defaults_that_differ_and_corpora_without_questions() -> None:
    table = {"bm25": {"ndcg@10": 0.5}}
    assert over_corpora([summary("one", table), summary("two", table, "bm25")])["retrieval_default"] is None
    nothing = over_corpora([summary("one", {}), summary("two", {})])
    assert (nothing["retrieval"], nothing["corpora"], nothing["retrieval_default"]) == ({}, [], None)
    assert "mean over" not in evaluation_text(nothing)


def test_one_run_is_shown_as_it_is() -> None:
    assert evaluation_text(summary("one", {})).startswith("one: 10 documents")
