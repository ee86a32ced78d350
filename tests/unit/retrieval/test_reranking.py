"""What search has found is put in the order of the cross-encoder and of the first stage together."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from retrieval.blend import FILE, Blend, Curve, read_blend
from retrieval.cross_encoder import CrossEncoderModel
from retrieval.reranking import RERANKED, Reranker, hit_text
from retrieval.search import SearchHit
from serving.admission import Admission
from serving.embedding import EmbeddingLimits
from serving.ranking import CrossEncoderRanker, RankingService
from tests.tiny_model import cross_encoder

QUESTIONS = ["how do I invert a matrix", "what is a tree"]
BLEND = Blend(weight=0.3, alone=Curve(1.5, -0.5), after=Curve(2.0, 0.1))


def hit(number: int, text: str, title: str = "") -> SearchHit:
    return SearchHit(f"d{number}", f"d{number}#0", title or f"d{number}", text, 0, len(text), 1 / number, {})


FOUND = [hit(n, f"{word} number {n}") for n, word in enumerate(("inverse", "leaf", "names", "matrix", "wood"), 1)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CrossEncoderModel:
    return CrossEncoderModel(str(cross_encoder(tmp_path_factory.mktemp("cross") / "tiny")), 512)


def logits(model: CrossEncoderModel, question: str, hits: Sequence[SearchHit]) -> np.ndarray:
    return np.array([logit for logit, _, _ in model.score([(question, hit_text(one), None) for one in hits])])


def test_scores_take_the_rank_of_the_first_stage_off() -> None:
    given = [1.0, 2.0, 2.5]
    np.testing.assert_allclose(BLEND.scores(given, True), [1, 2 - 0.3 * np.log(2), 2.5 - 0.3 * np.log(3)])
    np.testing.assert_array_equal(BLEND.scores(given, False), given)
    np.testing.assert_allclose(BLEND.relevance(np.array(given), False), 1 / (1 + np.exp(0.5 - 1.5 * np.array(given))))
    np.testing.assert_allclose(BLEND.relevance(np.array(given), True), 1 / (1 + np.exp(-0.1 - 2 * np.array(given))))
    assert Curve()(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]


def test_a_blend_is_read_from_its_folder_and_there_is_none_in_others(tmp_path: Path) -> None:
    assert read_blend(str(tmp_path), "k") == read_blend("no/such", "k") == Blend()
    BLEND.save(tmp_path, learned_from="links")
    assert read_blend(str(tmp_path), "k") == BLEND
    (tmp_path / FILE).write_text('{"blend": {"weight": "much"}}')
    with pytest.raises(InputError, match=r"serve\.ranker: .*ranking\.json cannot be read"):
        read_blend(str(tmp_path), "serve.ranker")


@pytest.mark.parametrize("weight", [0.0, 0.3, 1e6])
def test_the_best_documents_are_put_in_order_and_the_others_follow(model: CrossEncoderModel, weight: float) -> None:
    reranker = Reranker(model, Blend(weight, after=Curve(0.5, 0.0)), depth=4)
    for question, hits in zip(QUESTIONS, reranker.rerank(QUESTIONS, [FOUND, FOUND[::-1]]), strict=True):
        before = FOUND if question == QUESTIONS[0] else FOUND[::-1]
        scores = logits(model, question, before[:4]) - weight * np.log([1, 2, 3, 4])
        order = np.argsort(-scores, kind="stable")
        assert [one.document_id for one in hits] == [before[n].document_id for n in order] + [before[4].document_id]
        assert hits[0].score == pytest.approx(1 / (1 + np.exp(-0.5 * scores.max())), abs=1e-4)
        if weight > 1000:
            assert order.tolist() == [0, 1, 2, 3]
    assert reranker.rerank([], []) == [] and reranker.rerank(["a"], [[]]) == [[]]


def test_a_question_that_is_too_long_keeps_its_order_and_that_is_told_once(
    model: CrossEncoderModel, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = Reranker(model, BLEND, depth=5)
    asked = ["matrix " * 50, QUESTIONS[0]]
    with caplog.at_level(logging.WARNING, logger="catena"):
        kept, ordered = reranker.rerank(asked, [FOUND, FOUND])
        reranker.rerank(asked, [FOUND, FOUND])
    assert kept == FOUND and ordered == reranker.rerank(asked[1:], [FOUND])[0] != FOUND
    assert caplog.text.count("questions of more than 32 tokens keep the order of search") == 1


def test_a_pipeline_beside_the_others(model: CrossEncoderModel) -> None:
    asked: list[tuple[str, int]] = []

    def search(questions: Sequence[str], pipeline: str, top_k: int) -> list[list[SearchHit]]:
        asked.append((pipeline, top_k))
        return [FOUND[:top_k] for _ in questions]

    both = Reranker(model, BLEND, depth=3).beside(search)
    assert both(QUESTIONS, "dense", 2) == [FOUND[:2]] * 2
    first, _ = both(QUESTIONS, RERANKED, 2)
    assert asked == [("dense", 2), ("hybrid", 3)] and len(first) == 2
    expected = Reranker(model, BLEND, depth=3).rerank(QUESTIONS[:1], [FOUND])[0][:2]
    assert [one.document_id for one in first] == [one.document_id for one in expected]


def test_the_service_puts_what_it_has_found_in_the_same_order(model: CrossEncoderModel) -> None:
    model.blend = BLEND
    ranker = CrossEncoderRanker(model, 512, 0.05, 30.0)
    service = RankingService(ranker, EmbeddingLimits(64, 5000), Admission(5.0, 100_000))
    titled = [*FOUND, hit(9, "of a sparse matrix", title="Inverse")]
    offline = Reranker(model, BLEND, depth=9).rerank(QUESTIONS[:1], [titled])[0]
    online, _ = asyncio.run(service.rank(QUESTIONS[0], [hit_text(one) for one in titled], None, "results", found=True))
    assert [titled[one.place].document_id for one in online] == [one.document_id for one in offline]
    assert [one.relevance for one in online] == pytest.approx([one.score for one in offline], abs=1e-5)
    assert hit_text(titled[-1]) == "Inverse\nof a sparse matrix" and hit_text(FOUND[0]) == "inverse number 1"
