"""Features of candidates: held against values computed by hand, with what is missing left missing."""

from pathlib import Path

import numpy as np
import pytest

from data.lexical import Tokenizer
from retrieval.facts import Dates, DocumentFacts, day_of, write_facts
from retrieval.features import NAMES, RISING, CandidateFeatures
from retrieval.hits import SearchHit
from retrieval.trail import Place

QUESTION = "the inverse of a sparse matrix"  # three terms without the stop-words


def hit(
    id_: str, text: str = "", title: str = "", trail: tuple[Place, ...] = (), metadata: dict[str, object] | None = None
) -> SearchHit:
    return SearchHit(id_, f"{id_}#0", title or id_, text, 0, len(text), 1.0, metadata or {}, trail)  # type: ignore[arg-type]


def columns(features_NF: np.ndarray) -> dict[str, list[float]]:
    return dict(zip(NAMES, features_NF.T.tolist(), strict=True))


def test_each_step_gives_score_rank_and_how_far_the_candidate_is_from_its_best() -> None:
    found = [
        hit("a", trail=(Place("dense", 1, 0.9), Place("bm25", 4, 2.0), Place("hybrid", 1, 1.0))),
        hit("b", trail=(Place("dense", 3, 0.5), Place("hybrid", 2, 0.75))),
        hit("c", trail=(Place("dense", 2, 0.8), Place("bm25", 1, 10.0), Place("hybrid", 3, 0.25))),
        hit("d", trail=(Place("bm25", 2, 4.0), Place("hybrid", 4, 0.0), Place("my.own:step", 1, 7.0))),
    ]
    told = columns(CandidateFeatures(Tokenizer("english"))(QUESTION, found))
    np.testing.assert_allclose(told["dense_score"], [0.9, 0.5, 0.8, np.nan], rtol=1e-6)
    np.testing.assert_allclose(told["dense_reciprocal_rank"], [1, 1 / 3, 1 / 2, 0], rtol=1e-6)
    np.testing.assert_allclose(told["dense_relative"], [1, 0, 0.75, 0], atol=1e-6)
    assert told["dense_has"] == [1, 1, 1, 0] and told["bm25_has"] == [1, 0, 1, 1]
    np.testing.assert_allclose(told["bm25_relative"], [0, 0, 1, 0.25], rtol=1e-6)
    np.testing.assert_allclose(told["hybrid_relative"], [1, 0.75, 0.25, 0], rtol=1e-6)


@pytest.mark.parametrize("step", ["tokens", "links", "cross_encoder"])
def test_a_step_that_did_not_run_says_nothing_and_one_that_read_a_few_says_it_of_these(step: str) -> None:
    features, name = CandidateFeatures(Tokenizer("english")), step.replace("_", "-")
    told = columns(features("question", [hit("a"), hit("b")]))
    for what in ("score", "reciprocal_rank", "relative", "has"):
        assert np.isnan(told[f"{step}_{what}"]).all()
    told = columns(features("question", [hit("a", trail=(Place(name, 1, -3.0),)), hit("b")]))
    np.testing.assert_array_equal(told[f"{step}_score"], [-3.0, np.nan])
    assert told[f"{step}_has"] == told[f"{step}_relative"] == told[f"{step}_reciprocal_rank"] == [1, 0]


def test_words_are_counted_by_the_terms_of_the_index() -> None:
    found = [
        hit("a", "Sparse matrix and more matrix", "Inverses"),
        hit("b", "nothing of it"),
        hit("the inverse", "inverse sparse matrix"),  # its title is its id, which says nothing
    ]
    told = columns(CandidateFeatures(Tokenizer("english"))(QUESTION, found))
    np.testing.assert_allclose(told["text_share"], [2 / 3, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(told["title_share"], [1 / 3, 0, 0], rtol=1e-6)
    assert told["question_terms"] == [3, 3, 3]
    assert told["text_terms"] == [len(Tokenizer("english").numbers(one.text)) for one in found]
    told = columns(CandidateFeatures(Tokenizer("english"))("the of", found))
    assert np.isnan(told["text_share"]).all() and told["question_terms"] == [0, 0, 0]


def test_facts_of_documents_are_found_by_their_ids(tmp_path: Path) -> None:
    ids = [f"d{n}" for n in range(100)]
    write_facts(tmp_path, ids, np.arange(100), np.arange(100) / 10)
    facts = DocumentFacts.open(tmp_path)
    assert facts is not None and DocumentFacts.open(tmp_path / "none") is None
    told = columns(CandidateFeatures(Tokenizer("none"), facts)("q", [hit("d7"), hit("new"), hit("d42")]))
    np.testing.assert_allclose(told["degree"], [7, np.nan, 42])
    np.testing.assert_allclose(told["pagerank"], [0.7, np.nan, 4.2], rtol=1e-6)
    told = columns(CandidateFeatures(Tokenizer("none"))("q", [hit("d7")]))
    assert np.isnan([told["degree"][0], told["pagerank"][0], told["age_days"][0]]).all()


@pytest.mark.parametrize(
    ("value", "days"),
    [
        ("1970-01-02", 1.0),
        ("1970-01-02T12:00:00Z", 1.5),
        ("1970-01-01T02:00:00+02:00", 0.0),
        (1971, 365.0),
        ("1971", 365.0),
        (["1970-01-02", "1970-01-05", "soon"], 4.0),
        ("soon", np.nan),
        (True, np.nan),
        (None, np.nan),
        (19.7, np.nan),
        (12345, np.nan),
    ],
)
def test_a_date_is_a_text_or_a_year(value: object, days: float) -> None:
    metadata: dict[str, object] = {"issue": {"on": value}}
    np.testing.assert_equal(day_of(metadata, ("issue", "on")), days)  # type: ignore[arg-type]
    assert np.isnan(day_of({"issue": "x"}, ("issue", "on")))


def test_ages_are_counted_from_the_newest_document_of_the_training() -> None:
    dates = Dates(("on",), day_of({"on": "2020-01-11"}, ("on",)))
    found = [hit("a", metadata={"on": "2020-01-01"}), hit("b"), hit("c", metadata={"on": "2020-01-13"})]
    told = columns(CandidateFeatures(Tokenizer("none"), dates=dates)("q", found))
    np.testing.assert_allclose(told["age_days"], [10, np.nan, -2])


@pytest.mark.parametrize("count", [0, 1])
def test_no_candidate_and_a_single_one(count: int) -> None:
    found = [hit("a", "sparse", trail=(Place("dense", 1, 0.0), Place("hybrid", 1, 0.5)))][:count]
    features_NF = CandidateFeatures(Tokenizer("english"))(QUESTION, found)
    assert features_NF.shape == (count, len(NAMES)) and features_NF.dtype == np.float32
    if count:
        told = columns(features_NF)
        assert told["dense_relative"] == told["hybrid_relative"] == [1], "the only one is the best"


def test_features_do_not_depend_on_the_other_questions_or_the_order_of_candidates() -> None:
    found = [
        hit(f"d{n}", f"text {n} sparse"[: 6 + 2 * n], trail=(Place("dense", n + 1, 1 / (n + 1)),)) for n in range(6)
    ]
    features = CandidateFeatures(Tokenizer("english"))
    order = [3, 1, 5, 0, 2, 4]
    np.testing.assert_array_equal(features(QUESTION, found)[order], features(QUESTION, [found[n] for n in order]))


def test_what_rises_is_what_speaks_for_a_document() -> None:
    assert {"dense_score", "bm25_relative", "hybrid_reciprocal_rank", "text_share"} <= RISING
    assert RISING.isdisjoint({"text_terms", "degree", "age_days", "dense_has", "question_terms"})
