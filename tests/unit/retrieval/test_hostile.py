"""Questions as nobody should ask them: each gets an answer, or one clear message."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.errors import InputError
from data.matrices import unit_rows
from data.passages.text import passage_text
from data.vectors.table import vector_column
from retrieval.config import IndexConfig, Mode
from retrieval.query import SearchQuery
from retrieval.search import Retriever, open_retriever
from tests.unit.retrieval.test_build import build, write_run

DIM, DOCUMENTS = 64, 30
HASHED = HashedEncoderConfig(hashed=HashedConfig(dim=DIM))
MODES: tuple[Mode, ...] = ("bm25", "dense", "hybrid")
QUESTIONS = {
    "empty": "",
    "spaces": " \t\n\u00a0",
    "stop-words": "to be or not to be, that is the",
    "long": "word4 part1 " * 8_500,
    "one word of 100,000 letters": "w" * 100_000,
    "another script": "שלום мир 自然言語 🙂",
    "operators": '+word4 -part1 "title" AND OR NOT (word7* ~2 ^3) field:[1 TO *] \\ / && || ! {} ; -- %00 \' <b>',
    "control characters": "word4\x00\x1b[31m\ufffe part1",
}


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """Sixty passages with the vectors of their words."""
    root = write_run(tmp_path_factory.mktemp("hostile"), documents=DOCUMENTS, dim=DIM)
    encoder = load_encoder(HASHED)
    for path in sorted((root / "passages").glob("part-*.parquet")):
        rows = pq.read_table(path).to_pylist()
        made = encoder.encode([passage_text(row["title"], row["text"]) for row in rows])
        place = root / "vectors" / path.name
        table = pq.read_table(place, columns=["id"])
        field, column = vector_column(made, "float32")
        pq.write_table(table.append_column(field, column), place)
    (root / "manifest.json").write_text(
        f'{{"dim": {DIM}, "fingerprint": "{encoder.fingerprint}", "precision": "{encoder.precision}"}}'
    )
    build(root, IndexConfig(batch_points=64))
    opened = open_retriever(root / "out", HASHED)
    yield opened
    opened.index.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered(retriever: Retriever, name: str, mode: Mode) -> None:
    """Those without a word that an index could know find nothing by words."""
    (hits,) = retriever.search([QUESTIONS[name]], mode, top_k=5)
    assert len({hit.document_id for hit in hits}) == len(hits) <= 5
    assert all(np.isfinite(hit.score) for hit in hits)
    if mode == "bm25":
        assert bool(hits) == (name in ("long", "operators", "control characters"))


def test_operators_are_words_like_any_other(retriever: Retriever) -> None:
    plain, marked = retriever.search(["word4 part1", "+word4 -part1"], "bm25", top_k=3)
    assert [hit.passage_id for hit in plain] == [hit.passage_id for hit in marked] != []


def test_a_long_question_asks_what_its_words_ask(retriever: Retriever) -> None:
    short, long = retriever.search(["word4 part1", QUESTIONS["long"]], "bm25", top_k=3)
    assert [hit.passage_id for hit in long] == [hit.passage_id for hit in short]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("top_k", [0, -1, -1000])
def test_a_number_of_results_below_one_is_refused(retriever: Retriever, top_k: int, mode: Mode) -> None:
    with pytest.raises(InputError, match=f"top_k {top_k}: at least 1") as raised:
        retriever.search(["word4"], mode, top_k=top_k)
    assert raised.value.remedy


@pytest.mark.parametrize("mode", MODES)
def test_more_results_than_there_are_documents_are_all_of_them(retriever: Retriever, mode: Mode) -> None:
    (hits,) = retriever.search(["title word4"], mode, top_k=1_000_000)
    assert len(hits) == DOCUMENTS - 1, "one document has no passage"


def test_a_filter_on_an_unknown_field_names_the_nearest(retriever: Retriever) -> None:
    for mode in MODES:
        with pytest.raises(InputError, match="no filter by 'kidn'") as raised:
            retriever.search(["word4"], mode, filter={"kidn": "k1"})
        assert "did you mean 'kind'" in raised.value.remedy


@pytest.mark.parametrize("mode", MODES)
def test_equal_scores_have_one_order(retriever: Retriever, mode: Mode) -> None:
    """Every passage has the word "title" once, at the same length: alone, in a batch, and again."""
    asked = ["title", "word4", "title"]
    first, _, again = retriever.search(asked, mode, top_k=20)
    (alone,) = retriever.search(["title"], mode, top_k=20)
    assert first == again == alone
    if mode == "bm25":
        assert len({round(hit.score, 5) for hit in first}) == 1
        assert [hit.passage_id for hit in first] == sorted(hit.passage_id for hit in first)


def test_vectors_that_say_nothing_find_something_or_nothing_but_do_not_fail(retriever: Retriever) -> None:
    vectors = [np.zeros(DIM, np.float32), unit_rows(np.ones((1, DIM), np.float32))[0]]
    answers = retriever.answer([SearchQuery("word4", "dense"), SearchQuery("word4", "dense")], vectors)
    assert all(np.isfinite(hit.score) for hits in answers for hit in hits)
