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
from retrieval.hits import SearchHit
from retrieval.pipelines import placed
from retrieval.reranking import Reranker, hit_text
from retrieval.steps import RankStep
from serving.admission import Admission
from serving.embedding import EmbeddingLimits
from serving.ranking import CrossEncoderRanker, RankingService
from tests.tiny_model import cross_encoder

QUESTIONS = ["how do I invert a matrix", "what is a tree"]
STEP = RankStep(rank="cross-encoder")
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
def test_documents_are_scored_by_what_the_model_reads_and_by_their_rank(
    model: CrossEncoderModel, weight: float
) -> None:
    reranker = Reranker(model, Blend(weight, after=Curve(0.5, 0.0)))
    found = [FOUND[:4], FOUND[:0:-1]]
    for question, hits, relevance in zip(QUESTIONS, found, reranker.score(QUESTIONS, found), strict=True):
        scores = logits(model, question, hits) - weight * np.log([1, 2, 3, 4])
        assert relevance == pytest.approx(Curve(0.5, 0.0)(scores), abs=1e-4)
        if weight > 1000:
            assert placed(hits, STEP, relevance)[0].document_id == hits[0].document_id
    (none,) = reranker.score(["a"], [[]])
    assert reranker.score([], []) == [] and none is not None and len(none) == 0


def test_a_question_that_is_too_long_gets_no_scores_and_that_is_told_once(
    model: CrossEncoderModel, caplog: pytest.LogCaptureFixture
) -> None:
    reranker = Reranker(model, BLEND)
    asked = ["matrix " * 50, QUESTIONS[0]]
    with caplog.at_level(logging.WARNING, logger="catena"):
        kept, scores = reranker.score(asked, [FOUND, FOUND])
        reranker.score(asked, [FOUND, FOUND])
    (alone,) = reranker.score(asked[1:], [FOUND])
    assert kept is None and scores is not None and alone is not None and scores == pytest.approx(alone)
    assert placed(FOUND, STEP, kept) == FOUND
    assert caplog.text.count("questions of more than 32 tokens keep the order of search") == 1


def test_the_service_puts_what_it_has_found_in_the_same_order(model: CrossEncoderModel) -> None:
    model.blend = BLEND
    ranker = CrossEncoderRanker(model, 512, 0.05, 30.0)
    service = RankingService(ranker, EmbeddingLimits(64, 5000), Admission(5.0, 100_000))
    titled = [*FOUND, hit(9, "of a sparse matrix", title="Inverse")]
    (scores,) = Reranker(model, BLEND).score(QUESTIONS[:1], [titled])
    offline = placed(titled, STEP, scores)
    online, _ = asyncio.run(service.rank(QUESTIONS[0], [hit_text(one) for one in titled], None, "results", found=True))
    assert [titled[one.place].document_id for one in online] == [one.document_id for one in offline]
    assert [one.relevance for one in online] == pytest.approx([one.score for one in offline], abs=1e-5)
    assert hit_text(titled[-1]) == "Inverse\nof a sparse matrix" and hit_text(FOUND[0]) == "inverse number 1"
