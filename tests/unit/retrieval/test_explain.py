"""Why documents were found: the parts of a score are those of the lists, and the answer is the one without reasons."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.config import IndexConfig
from retrieval.explain import Explained, explain
from retrieval.open import open_index, read_meta
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from tests.unit.retrieval.test_build import DIM, build, write_run

QUERY = "word4 part1 word7 title"


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    root = write_run(tmp_path_factory.mktemp("explained"), documents=30)
    build(root, IndexConfig(prefetch=20, batch_points=64))
    return Retriever(open_index(root / "out"), read_meta(root / "out"))


def vector() -> np.ndarray:
    made = np.random.default_rng(5).normal(size=DIM).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made), np.float32)


def explained(retriever: Retriever, mode: str, top_k: int = 10) -> list[Explained]:
    query = SearchQuery(QUERY, mode, top_k)  # type: ignore[arg-type]
    return explain(retriever, query, None if mode == "bm25" else vector())


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("top_k", [5, 25], ids=["shallow", "deeper than the lists"])
def test_the_parts_add_up_to_the_score(retriever: Retriever, mode: str, top_k: int) -> None:
    found = explained(retriever, mode, top_k)
    assert len(found) == top_k
    for one in found:
        parts = [place.contribution or 0.0 for place in one.lists]
        assert parts and sum(parts) == pytest.approx(one.hit.score, rel=1e-12)
        if mode == "hybrid":
            assert all(place.weight == 0.5 and 0 <= (place.contribution or 0.0) <= 0.5 for place in one.lists)
    assert [one.hit.score for one in found] == sorted((one.hit.score for one in found), reverse=True)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_scores_are_those_of_the_answer_without_reasons(retriever: Retriever, mode: str) -> None:
    (plain,) = retriever.answer([SearchQuery(QUERY, mode, 10)], [None if mode == "bm25" else vector()])  # type: ignore[arg-type]
    found = [one.hit for one in explained(retriever, mode)]
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in plain], rtol=1e-5)
    assert [hit.passage_id for hit in found] == [hit.passage_id for hit in plain], "equal BM25 scores among them"


def test_each_list_has_a_passage_where_it_says(retriever: Retriever) -> None:
    """The ranks and scores of both lists are those of the lists asked for by themselves."""
    alone = {
        "dense": retriever.answer([SearchQuery(QUERY, "dense", 30)], [vector()])[0],
        "bm25": retriever.answer([SearchQuery(QUERY, "bm25", 30)], [None])[0],
    }
    scores = {name: {hit.passage_id: hit.score for hit in hits} for name, hits in alone.items()}
    seen = 0
    for one in explained(retriever, "hybrid"):
        for place in one.lists:
            if one.hit.passage_id in scores[place.step]:  # else another passage of the document is better there
                assert place.score == pytest.approx(scores[place.step][one.hit.passage_id])
                seen += 1
    assert seen >= 10


def test_a_question_without_words_finds_nothing(retriever: Retriever) -> None:
    assert explain(retriever, SearchQuery("…", "bm25", 5), None) == []


def test_the_index_of_a_run_stays_as_it_was(retriever: Retriever, tmp_path: Path) -> None:
    before = retriever.answer([SearchQuery(QUERY, "bm25", 3)], [None])
    explained(retriever, "bm25", 3)
    assert retriever.answer([SearchQuery(QUERY, "bm25", 3)], [None]) == before
