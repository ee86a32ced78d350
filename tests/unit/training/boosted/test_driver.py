"""A ranker of boosted trees finds the feature that knows, says when it finds none, and scores online as offline."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from retrieval.boosted import ABOUT, MODEL, BoostedRanker, check_features
from retrieval.config import IndexConfig
from retrieval.facts import FACTS, day_of
from retrieval.features import NAMES, CandidateFeatures
from retrieval.hits import SearchHit
from tests.boosted_corpus import FOUND, find, write_corpus
from training.boosted.config import BoostedConfig
from training.boosted.driver import train_boosted, unseen
from training.cross_encoder.config import RankerConfig
from training.cross_encoder.lists import Search
from training.cross_encoder.questions import Question, gather
from training.encoders.examples import Corpus
from training.encoders.seen import NONE, Marks, marks_in, pair_marks

SMALL = BoostedConfig(trees=60, patience=60, leaf_candidates=10, learning_rate=0.2, feature_share=1.0, threads=1)
ASKED = RankerConfig(learn_share=0.9)


def trained(
    corpus: Corpus,
    out: Path,
    search: Search = find,
    config: BoostedConfig = SMALL,
    seen: Marks = NONE,
    held_out: bool = False,
    asked: RankerConfig = ASKED,
) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    return train_boosted(corpus, search, IndexConfig(), config, asked, None, out, seen, held_out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("boosted")
    return root / "out", trained(write_corpus(root / "corpus"), root / "out")


def test_the_feature_that_knows_is_found(made: tuple[Path, dict[str, Any]]) -> None:
    _, told = made
    assert told["learned_from"] == "90% of the run's own questions"
    assert told["answered"] == told["questions"] > 90 and told["candidates"] == FOUND * told["questions"]
    assert told["ndcg"]["reranked"] > 0.8 > told["ndcg"]["first"] + 0.2 and told["beats"] is True
    assert told["compared"]["difference"] == pytest.approx(told["ndcg"]["reranked"] - told["ndcg"]["first"])
    gain = told["importances"]["gain"]
    assert next(iter(gain)).startswith("bm25") and sum(v for k, v in gain.items() if k.startswith("bm25")) > 0.7
    assert set(gain) == set(told["importances"]["split"]) and sum(gain.values()) == pytest.approx(1, abs=0.01)


def test_a_ranker_scores_what_it_was_trained_on_by_the_same_features(made: tuple[Path, dict[str, Any]]) -> None:
    out, told = made
    ranker = BoostedRanker.open(Path(told["model"]))
    texts = ["question number 3", "question number 1000", "question number 7"]
    found = find(texts)
    found[1] = found[1][:1]
    scores = ranker.score(texts, found)
    assert [len(one) for one in scores] == [FOUND, 1, FOUND] and all(one.dtype == np.float64 for one in scores)
    for text, hits, of_one in zip(texts, found, scores, strict=True):
        np.testing.assert_array_equal(ranker.score([text], [hits])[0], of_one)
    lightgbm = pytest.importorskip("lightgbm")
    offline = CandidateFeatures(IndexConfig().tokenizer())(texts[0], found[0])
    booster = lightgbm.Booster(model_file=str(out / "trained" / MODEL))
    np.testing.assert_array_equal(booster.predict(offline), scores[0])
    assert ranker.score([], []) == [] and [len(one) for one in ranker.score(["a", "b"], [[], []])] == [0, 0]


def test_new_questions_are_put_in_the_order_of_what_it_has_learned(made: tuple[Path, dict[str, Any]]) -> None:
    ranker = BoostedRanker.open(Path(made[1]["model"]))
    texts = [f"question number {n}" for n in range(500, 600)]
    first = [int(np.argmax(scores)) for scores in ranker.score(texts, find(texts))]
    right = sum(place == (n * 7 + 3) % FOUND for n, place in zip(range(500, 600), first, strict=True))
    assert right > 70


def test_effects_are_the_strongest_and_belong_to_the_scores(made: tuple[Path, dict[str, Any]]) -> None:
    ranker, text = BoostedRanker.open(Path(made[1]["model"])), "question number 5"
    (hits,) = find([text])
    (scores,) = ranker.score([text], [hits])
    effects = ranker.effects(text, hits)
    best = effects[int(np.argmax(scores))]
    assert len(effects) == FOUND and best[0].name.startswith("bm25") and best[0].effect > 0
    for hit, of_one in zip(hits, effects, strict=True):
        sizes = [abs(one.effect) for one in of_one]
        assert len(of_one) <= 5 and sizes == sorted(sizes, reverse=True) and 0 not in sizes
        named = {one.name: one.value for one in of_one}
        bm25 = next(place for place in hit.trail if place.step == "bm25")
        if "bm25_score" in named:
            assert named["bm25_score"] == pytest.approx(bm25.score, rel=1e-6)
    whole = ranker._predict(CandidateFeatures(IndexConfig().tokenizer())(text, hits), pred_contrib=True)
    np.testing.assert_allclose(whole.sum(axis=1), scores, atol=1e-6)
    assert ranker.effects(text, []) == []
    json.dumps([vars(one) for of_one in effects for one in of_one], allow_nan=False)


def test_the_same_seed_gives_the_same_trees_with_any_number_of_threads(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    told = [
        trained(corpus, tmp_path / name, config=SMALL.model_copy(update={"trees": 15, **changed}))
        for name, changed in (("a", {}), ("b", {"threads": 2}), ("c", {"seed": 1, "feature_share": 0.3}))
    ]
    trees = [(Path(one["model"]) / MODEL).read_text().partition("\nparameters:")[0] for one in told]
    assert trees[0] == trees[1] != trees[2]
    assert {**told[0], "model": ""} == {**told[1], "model": ""}


def test_where_nothing_knows_it_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def find_blindly(questions: Sequence[str]) -> list[list[SearchHit]]:
        """Scores of other questions: they do not know which document answers."""
        found = []
        for text in questions:
            own, (other,) = find([text])[0], find([f"x {int(text.split()[-1]) + 1001}"])
            found.append([SearchHit(**{**vars(a), "trail": b.trail}) for a, b in zip(own, other, strict=True)])
        return found

    with caplog.at_level(logging.WARNING, logger="catena"):
        told = trained(write_corpus(tmp_path / "corpus"), tmp_path / "out", find_blindly)
    assert told["beats"] is False
    assert "boosted: nDCG@10 of held-out questions" in caplog.text and "the order it was given" in caplog.text
    assert "may be chance" in caplog.text or "not better than" in caplog.text


def test_lists_that_lack_documents_and_steps_that_did_not_run_are_no_hindrance(tmp_path: Path) -> None:
    def find_with_holes(questions: Sequence[str]) -> list[list[SearchHit]]:
        found = find(questions)
        return [
            [
                SearchHit(**{**vars(hit), "trail": hit.trail[:2] if n % 3 else hit.trail[1:]})
                for n, hit in enumerate(hits)
            ]
            for hits in found
        ]

    told = trained(write_corpus(tmp_path / "corpus"), tmp_path / "out", find_with_holes)
    assert told["beats"] is True
    one = find_with_holes(["question number 3"])[0][:1]
    (scores,) = BoostedRanker.open(Path(told["model"])).score(["question number 3"], [one])
    assert np.isfinite(scores).all() and len(scores) == 1


def test_links_are_facts_but_not_where_they_ask(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", links=200)
    config = SMALL.model_copy(update={"trees": 5, "date": "year"})
    told = trained(corpus, tmp_path / "out", config=config)
    about = json.loads((Path(told["model"]) / ABOUT).read_text())
    assert (Path(told["model"]) / FACTS).is_file()
    assert about["date"]["path"] == ["year"] and about["date"]["newest"] == day_of({"year": 2099}, ("year",))
    assert about["features"] == list(NAMES) and about["config"]["trees"] == 5 and about["lightgbm"]

    def find_links(questions: Sequence[str]) -> list[list[SearchHit]]:
        return find([f"x {text.split()[-1]}" for text in questions])

    told = trained(
        corpus, tmp_path / "linked", find_links, config, asked=RankerConfig(learn_from="links", valid_share=0.3)
    )
    assert told["learned_from"] == "training links" and not (Path(told["model"]) / FACTS).exists()


def test_questions_that_a_model_was_trained_on_are_left_out(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    asked, _ = gather(corpus, ASKED, None)
    texts = corpus.texts([id_ for one in asked for id_ in one.relevant])
    known: list[Question] = asked[:30]
    seen = pair_marks([one.text for one in known], [texts[id_] for one in known for id_ in one.relevant])
    assert unseen(corpus, asked, seen) == asked[30:]
    told = trained(corpus, tmp_path / "a", seen=seen, config=SMALL.model_copy(update={"trees": 3}))
    assert told["questions"] == len(asked) - 30 and told["left_out"] == 30
    own = RankerConfig(learn_share=0.9, valid_share=0.4)
    held = sum(one.valid for one in gather(corpus, own, None)[0])
    told = trained(corpus, tmp_path / "b", held_out=True, asked=own, config=SMALL.model_copy(update={"trees": 3}))
    assert told["questions"] == held and told["left_out"] == len(gather(corpus, own, None)[0]) - held


def test_evaluation_can_tell_what_it_was_trained_on(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    asked, _ = gather(corpus, ASKED, None)
    texts = corpus.texts([id_ for one in asked for id_ in one.relevant])
    marks = pair_marks([one.text for one in asked], [texts[id_] for one in asked for id_ in one.relevant])
    assert set(marks_in(Path(made[1]["model"])).tolist()) == set(marks.tolist())


@pytest.mark.parametrize(
    ("questions", "search", "problem"),
    [
        (15, find, r"boosted: of \d+ questions .* \d+ of them have an answer among their candidates; 20 are needed"),
        (120, lambda texts: [[] for _ in texts], r"boosted: of \d+ questions .*, and 0 of them have an answer"),
    ],
)
def test_too_little_is_refused(tmp_path: Path, questions: int, search: Search, problem: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", questions)
    asked = RankerConfig(learn_share=0.95, valid_share=0.45)
    with pytest.raises(InputError, match=problem):
        trained(corpus, tmp_path / "out", search, asked=asked)
    assert not (tmp_path / "out" / "trained").exists()


def test_a_key_of_dates_that_no_document_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"boosted\.date: no document has a date or a year under 'published'"):
        trained(
            write_corpus(tmp_path / "corpus"),
            tmp_path / "out",
            config=SMALL.model_copy(update={"date": "published"}),
        )
    with pytest.raises(ValueError, match="a key is empty"):
        BoostedConfig(date="a..b")


def test_a_ranker_of_other_features_is_refused(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    folder.mkdir()
    with pytest.raises(InputError, match=r"boosted: no ranker of boosted trees at .*trained") as missing:
        BoostedRanker.open(folder)
    assert "catena ranker boost" in missing.value.remedy
    about = json.loads((Path(made[1]["model"]) / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, "features": [*NAMES[1:], "mood"]}))
    with pytest.raises(InputError, match=r"it lacks dense_score; it has mood beside them"):
        BoostedRanker.open(folder)
    with pytest.raises(InputError, match="theirs are in another order"):
        check_features(NAMES[::-1], folder, "k")
    (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"k: .* has lost its file model\.txt"):
        BoostedRanker.open(folder, "k")
    (folder / MODEL).write_text("no trees")
    with pytest.raises(InputError, match=r"boosted: .*model\.txt cannot be read"):
        BoostedRanker.open(folder)
    (folder / ABOUT).write_text("{}")
    with pytest.raises(InputError, match="lacks date, features, words"):
        BoostedRanker.open(folder)
    (folder / ABOUT).write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        BoostedRanker.open(folder)


def test_a_system_without_openmp_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    from retrieval.boosted import load_lightgbm

    known = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return known(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"LightGBM cannot be loaded: libgomp\.so\.1") as told:
        load_lightgbm()
    assert "libgomp1" in told.value.remedy


def test_the_search_is_asked_in_batches(tmp_path: Path) -> None:
    sizes: list[int] = []

    def counting(questions: Sequence[str]) -> list[list[SearchHit]]:
        sizes.append(len(questions))
        return partial(find, knows="dense")(questions)

    told = trained(write_corpus(tmp_path / "c"), tmp_path / "o", counting, SMALL.model_copy(update={"trees": 20}))
    assert max(sizes) == 64 and sum(sizes) == told["questions"]
    assert next(iter(told["importances"]["gain"])).startswith("dense")
