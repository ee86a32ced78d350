"""What the words of a question add to a passage's BM25 score: their weights add up to it, in a live part too."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.lexical import BM25, Tokenizer
from data.words import words
from retrieval.config import IndexConfig
from retrieval.engines.edge import EdgeIndex
from retrieval.explain import explain
from retrieval.index import Hit, IndexedPassage, IndexQuery, Key, point_id
from retrieval.matched import MatchedWord, matched_words
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.retrieval.test_live import CONFIG, DIM, KEYS, LATE_DIM, Both, document

TITLE = "Inverse"


class Words:
    """An index of words alone, that counts what it is asked."""

    def __init__(self, folder: Path, texts: Sequence[str], language: str, titled: bool = True) -> None:
        self.tokenizer, self.asked = Tokenizer(language), 0
        self.bm25 = BM25(self.tokenizer, 5.0)
        self.index = EdgeIndex.create(folder, 2, (), IndexConfig())
        self.index.upsert([self._passage(number, text, titled) for number, text in enumerate(texts)])
        self.keys = [point_id(str(number)) for number in range(len(texts))]
        self.payloads: dict[Key, Any] = dict(self.index.payloads(self.keys))

    def _passage(self, number: int, text: str, titled: bool) -> IndexedPassage:
        sparse = self.bm25.passage(f"{TITLE}\n{text}" if titled else text)
        unit = np.array([1, 0], np.float32)
        return IndexedPassage(str(number), str(number), TITLE, text, 0, len(text), {}, unit, sparse)

    def ask(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        self.asked += len(queries)
        return self.index.query_batch(queries)

    def matched(self, question: str) -> list[tuple[MatchedWord, ...]]:
        found = matched_words(self.ask, self.tokenizer, words(question), self.payloads)
        return [found[key] for key in self.keys]

    def scores(self, question: str) -> list[float]:
        (hits,) = self.index.query_batch([IndexQuery(len(self.keys), sparse=self.bm25.query(question))])
        score = {hit.key: hit.score for hit in hits}
        return [score.get(key, 0.0) for key in self.keys]


def told(matched: Sequence[MatchedWord]) -> list[str]:
    return [one.word for one in matched]


def test_words_match_by_their_stems_and_are_told_as_they_were_asked(tmp_path: Path) -> None:
    texts = ["Inverting the matrix of seas", "a matrix"]
    english = Words(tmp_path / "english", texts, "english")
    first, second = english.matched("how invert of a matrix, invert sea")
    assert (told(first), told(second)) == (["invert", "matrix", "sea"], ["matrix"])
    (first, _) = Words(tmp_path / "none", texts, "none").matched("inverting invert")
    assert told(first) == ["inverting"]


def test_the_weights_add_up_to_the_score(tmp_path: Path) -> None:
    texts = ["Inverting the matrix of seas", "a matrix", "seas of seas", "rows"]
    english = Words(tmp_path / "words", texts, "english")
    question = "invert inverting inverted matrix sea sea unheard"
    matched, scores = english.matched(question), english.scores(question)
    for one, score in zip(matched, scores, strict=True):
        assert sum(word.weight for word in one) == pytest.approx(score, rel=1e-5)
    weights = {word.word: word.weight for word in matched[0]}
    assert weights["invert"] == weights["inverting"] == weights["inverted"], "one stem, asked three times"
    assert weights["sea"] > weights["matrix"], "asked twice, and as rare"


def test_a_title_that_is_shown_and_not_indexed_matches_nothing(tmp_path: Path) -> None:
    without = Words(tmp_path / "words", ["a matrix"], "english", titled=False)
    assert [told(one) for one in without.matched("inverse matrix")] == [["matrix"]]


def test_terms_that_no_passage_has_are_not_asked_for(tmp_path: Path) -> None:
    english = Words(tmp_path / "words", ["a matrix", "rows"], "english")
    assert english.matched(" ".join(f"word{number}" for number in range(10_000))) == [(), ()]
    assert english.asked == 0
    english.matched("matrix rows matrix")
    assert english.asked == 2
    assert matched_words(english.ask, english.tokenizer, ["matrix"], {}) == {}


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    root = write_run(tmp_path_factory.mktemp("matched"), documents=30)
    build(root, IndexConfig(prefetch=20, batch_points=64))
    made = Retriever(open_index(root / "out"), read_meta(root / "out"))
    yield made
    made.index.close()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_explained_words_add_up_to_the_score_in_the_list_of_words(retriever: Retriever, mode: str) -> None:
    question = "word4 part1 word7 word4 title"
    vector = None if mode == "bm25" else np.eye(1, retriever.meta.dim, dtype=np.float32)[0]
    (by_words,) = retriever.answer([SearchQuery(question, "bm25", 100)], [None])
    score = {hit.passage_id: hit.score for hit in by_words}
    seen = 0
    for one in explain(retriever, SearchQuery(question, mode, 12), vector):  # type: ignore[arg-type]
        if one.hit.passage_id in score:  # else another passage of the document is better there
            assert sum(word.weight for word in one.words) == pytest.approx(score[one.hit.passage_id], rel=1e-5)
            seen += 1
    assert seen >= 4


def test_words_of_live_documents_weigh_what_they_weigh_in_the_index(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    corpus = {f"d{number}": document(f"d{number}", rng) for number in range(40)}
    base = EdgeIndex.create(tmp_path / "base", DIM, KEYS, CONFIG, LATE_DIM)
    base.upsert([passage for passages in corpus.values() for passage in passages])
    base.finish()
    both = Both(tmp_path, base, corpus)
    both.put({f"d{number}": document(f"d{number}", rng) for number in (3, 50, 51)})
    live = Retriever(both.index, both.meta)
    question = " ".join(f"word{number}" for number in range(40))
    explained = explain(live, SearchQuery(question, "bm25", 100), None)
    assert {"d3", "d50", "d51"} <= {one.hit.document_id for one in explained}
    for one in explained:
        assert sum(word.weight for word in one.words) == pytest.approx(one.hit.score, rel=1e-5)
    both.index.close()
