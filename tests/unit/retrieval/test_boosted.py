"""Boosted trees as a step of a pipeline over a small index: their order, and its reasons."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.boosted import BoostedRanker
from retrieval.config import IndexConfig
from retrieval.open import open_index, read_meta
from retrieval.pipelines import PipelineSearch
from retrieval.search import Retriever
from retrieval.steps import FindStep, RankStep
from tests.boosted_corpus import write_corpus
from tests.unit.retrieval.test_build import build, write_run
from tests.unit.retrieval.test_pipelines import QUESTIONS, Vectors
from tests.unit.training.boosted.test_driver import trained

DEPTH = 8
PIPELINES = {
    "found": (FindStep(find="hybrid", depth=12),),
    "best": (FindStep(find="hybrid", depth=12), RankStep(rank="boosted", depth=DEPTH)),
}


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> BoostedRanker:
    root = tmp_path_factory.mktemp("trees")
    return BoostedRanker.open(Path(trained(write_corpus(root / "corpus"), root / "out")["model"]))


@pytest.fixture(scope="module")
def searching(ranker: BoostedRanker, tmp_path_factory: pytest.TempPathFactory) -> PipelineSearch:
    root = write_run(tmp_path_factory.mktemp("pipelines"), documents=30)
    build(root, IndexConfig(prefetch=20, batch_points=64))
    retriever = Retriever(open_index(root / "out"), read_meta(root / "out"), Vectors())  # type: ignore[arg-type]
    return PipelineSearch(retriever, PIPELINES, {"boosted": ranker})


def test_the_best_documents_are_put_in_the_order_of_the_trees(ranker: BoostedRanker, searching: PipelineSearch) -> None:
    for question in QUESTIONS:
        found = [one.hit for one in searching.explain(question, "found", 12)]
        (scores,) = ranker.score([question], [found[:DEPTH]])
        order = [found[n].document_id for n in np.argsort(-scores, kind="stable")]
        (hits,) = searching.search([question], "best", 12)
        assert [hit.document_id for hit in hits] == order + [hit.document_id for hit in found[DEPTH:]]
        np.testing.assert_array_equal([hit.score for hit in hits[:DEPTH]], np.sort(scores)[::-1])
        assert [hit.trail[-1].step for hit in hits] == ["boosted"] * DEPTH + ["hybrid"] * (len(found) - DEPTH)


def test_an_answer_is_the_same_with_its_reasons_and_these_are_the_effects(
    ranker: BoostedRanker, searching: PipelineSearch
) -> None:
    question = QUESTIONS[0]
    explained = searching.explain(question, "best", 12)
    (hits,) = searching.search([question], "best", 12)
    assert [one.hit.document_id for one in explained] == [hit.document_id for hit in hits]
    found = [one.hit for one in searching.explain(question, "found", 12)][:DEPTH]
    by_id = dict(zip([hit.document_id for hit in found], ranker.effects(question, found), strict=True))
    assert [one.effects for one in explained] == [by_id.get(hit.document_id, ()) for hit in hits]
    assert any(one.effects for one in explained) and not any(one.effects for one in explained[DEPTH:])
