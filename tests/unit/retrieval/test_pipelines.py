"""Searching by lists of steps, over a small index."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from data.errors import InputError
from retrieval.config import IndexConfig
from retrieval.hits import SearchHit
from retrieval.open import open_index, read_meta
from retrieval.pipelines import PipelineSearch, Scores, found_above, placed, query_of
from retrieval.query import SearchQuery
from retrieval.search import Retriever
from retrieval.steps import BUILT_IN, CallStep, ExpandStep, FindStep, RankStep, Step, TokensStep
from retrieval.user_steps import Candidates
from retrieval.weights import Fusion
from tests.unit.retrieval.test_build import DIM, build, write_run

QUESTIONS = ["word4 part1 word7 title", "word9", "title word2"]
FIND = FindStep(find="hybrid", depth=12)
HERE = "tests.unit.retrieval.test_pipelines"


class Vectors:
    """An encoder of random vectors, which knows what the index was built by."""

    fingerprint, dim = "tiny", DIM

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.random.default_rng(len(text)).normal(size=DIM) for text in texts]
        made = np.array(rows, np.float32).reshape(len(texts), DIM)
        return made / np.linalg.norm(made, axis=1, keepdims=True)


class ByNumber:
    """Ranks documents by their numbers, the largest first; questions with ``word9`` keep their order."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def score(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> list[Scores | None]:
        self.read += [len(hits) for hits in found]
        return [
            None if "word9" in text else np.array([number(hit) for hit in hits], float)
            for text, hits in zip(questions, found, strict=True)
        ]


def number(hit: SearchHit) -> int:
    return int(hit.document_id.split("/")[1])


def fewer(asked: Candidates, least: int = 0) -> list[SearchHit]:
    return [replace(hit, score=float(number(hit))) for hit in reversed(asked.hits) if number(hit) >= least]


def foreign(asked: Candidates) -> list[SearchHit]:
    return [replace(asked.hits[0], document_id="other")]


def doubled(asked: Candidates) -> list[SearchHit]:
    return [asked.hits[0], asked.hits[0]]


def no_number(asked: Candidates) -> list[SearchHit]:
    return [replace(asked.hits[0], score=float("nan"))]


def nothing(asked: Candidates) -> None:
    return None


def fails(asked: Candidates) -> list[SearchHit]:
    raise ZeroDivisionError(asked.question)


@pytest.fixture(scope="module")
def retriever(tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    root = write_run(tmp_path_factory.mktemp("pipelines"), documents=30)
    build(root, IndexConfig(prefetch=20, batch_points=64))
    return Retriever(open_index(root / "out"), read_meta(root / "out"), Vectors())  # type: ignore[arg-type]


def searching(retriever: Retriever, *steps: Step) -> PipelineSearch:
    ranker = ByNumber()
    return PipelineSearch(retriever, {**modes(), "own": steps}, {"cross-encoder": ranker, "boosted": ranker})


def modes() -> dict[str, tuple[Step, ...]]:
    return {name: steps for name, steps in BUILT_IN.items() if name != "late"}


def ids(hits: Sequence[SearchHit]) -> list[str]:
    return [hit.document_id for hit in hits]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_a_pipeline_of_one_step_is_that_mode(retriever: Retriever, mode: str) -> None:
    found = searching(retriever, FIND).search(QUESTIONS, mode, 7)
    assert found == retriever.search(QUESTIONS, mode, 7)  # type: ignore[arg-type]
    assert all(hit.trail == () for hits in found for hit in hits)


def test_steps_put_the_best_in_order_and_leave_the_rest(retriever: Retriever) -> None:
    first = retriever.search(QUESTIONS, "hybrid", 12)
    found = searching(retriever, FIND, RankStep(rank="cross-encoder", depth=5)).search(QUESTIONS, "own", 9)
    for question, before, after in zip(QUESTIONS, first, found, strict=True):
        kept = "word9" in question
        best = before[:5] if kept else sorted(before[:5], key=number, reverse=True)
        assert ids(after) == ids([*best, *before[5:9]])
        assert [len(hit.trail) for hit in after] == [0] * 9 if kept else [1] * 5 + [0] * 4
        for rank, hit in enumerate(after[:5], 1):
            assert kept or (hit.score, hit.trail[-1].step, hit.trail[-1].rank) == (number(hit), "cross-encoder", rank)


def test_each_step_is_given_what_the_one_before_left(retriever: Retriever) -> None:
    steps = (FIND, RankStep(rank="cross-encoder", depth=8), CallStep(call=f"{HERE}:fewer", depth=4))
    (found,) = searching(retriever, *steps, RankStep(rank="boosted", depth=2)).search(QUESTIONS[:1], "own", 10)
    (first,) = retriever.search(QUESTIONS[:1], "hybrid", 12)
    best = sorted(first[:8], key=number, reverse=True)[:4]
    assert ids(found) == ids(sorted(best[:1:-1], key=number, reverse=True) + best[1::-1])
    steps_of = [place.step for place in found[0].trail if place.weight is None]
    assert steps_of == ["hybrid", "cross-encoder", f"{HERE}:fewer", "boosted"]


def test_explained_and_plain_answers_are_equal(retriever: Retriever) -> None:
    own = searching(retriever, FIND, RankStep(rank="cross-encoder", depth=5))
    for question in QUESTIONS:
        (plain,) = own.search([question], "own", 9)
        told = own.explain(question, "own", 9)
        assert [(one.hit.document_id, one.hit.score) for one in told] == [(hit.document_id, hit.score) for hit in plain]
        for one in told:
            found = next(place for place in one.hit.trail if place.step == "hybrid")
            assert sum(place.contribution or 0 for place in one.lists) == pytest.approx(found.score)
        if "word9" not in question:
            assert [one.hit.trail[-1].rank for one in told[:5]] == [1, 2, 3, 4, 5]


def test_weights_and_fusion_of_a_step_take_the_place_of_the_indexs(retriever: Retriever) -> None:
    words_alone = FindStep(find="hybrid", weights={"bm25": 1.0, "dense": 0.0})
    (found,) = searching(retriever, words_alone).search(["word4 word9 word9"], "own", 2)
    assert ids(found) == ids(retriever.search(["word4 word9 word9"], "bm25", 2)[0]) == ["d/9", "d/4"]
    by_rank = FindStep(find="hybrid", fusion="rrf", weights={"bm25": 0.25, "dense": 0.5})
    question = retriever.question(query_of((by_rank,), "word4", 3), np.eye(DIM, dtype=np.float32)[0], None, 10, 20)
    assert question is not None and question.fusion == Fusion("rrf", {"bm25": 0.5, "dense": 1.0}, 60)
    plain = retriever.question(SearchQuery("word4"), np.eye(DIM, dtype=np.float32)[0], None, 10, 20)
    assert plain is not None and plain.fusion is None


def test_a_smallest_score_leaves_documents_out(retriever: Retriever) -> None:
    (whole,) = retriever.search(QUESTIONS[:1], "dense", 20)
    least = whole[6].score
    (found,) = searching(retriever, FindStep(find="dense", min_score=least)).search(QUESTIONS[:1], "own", 20)
    assert ids(found) == ids([hit for hit in whole if hit.score >= least]) and 0 < len(found) < 20
    ranked = searching(retriever, FIND, RankStep(rank="boosted", depth=6, min_score=10.0))
    (found,) = ranked.search(QUESTIONS[:1], "own", 20)
    assert found and all(number(hit) >= 10 for hit in found) and len(found) < 6


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("foreign", "returned document 'other', which it was not given, or twice"),
        ("doubled", "which it was not given, or twice"),
        ("no_number", "a score that is no finite number"),
        ("nothing", "it returned None, and not a list of the hits it was given"),
        ("fails", "ZeroDivisionError: word9"),
    ],
)
def test_a_step_of_the_users_that_fails_is_named(retriever: Retriever, function: str, message: str) -> None:
    own = searching(retriever, FIND, CallStep(call=f"{HERE}:{function}"))
    with pytest.raises(InputError, match=rf"pipelines\.own: the step {HERE}:{function} failed: .*{message}"):
        own.search(["word9"], "own")


def test_a_step_of_the_users_takes_arguments(retriever: Retriever) -> None:
    own = searching(retriever, FIND, CallStep(call=f"{HERE}:fewer", arguments={"least": 5}))
    (found,) = own.search(QUESTIONS[:1], "own", 20)
    assert found and min(map(number, found)) >= 5 and all(hit.score == number(hit) for hit in found)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (BUILT_IN["late"], "rank: tokens, and the index holds no token vectors"),
        ((FIND, ExpandStep(expand="known")), "expand: known, and the corpus has no links"),
        ((FIND, RankStep(rank="boosted")), "rank: boosted, and the run has none"),
    ],
)
def test_what_is_not_there_is_said_at_once(retriever: Retriever, steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(InputError, match=rf"pipelines\.own: {message}"):
        PipelineSearch(retriever, {"own": steps})


def test_an_unknown_pipeline_is_named_with_the_nearest(retriever: Retriever) -> None:
    with pytest.raises(InputError, match="no pipeline 'onw'; did you mean 'own'"):
        searching(retriever, FIND).search(["a"], "onw")


def test_equal_scores_keep_their_order_and_no_hits_stay_none() -> None:
    hits = [SearchHit(f"d/{n}", f"d/{n}", "", "", 0, 0, 1.0, {}) for n in range(4)]
    step = RankStep(rank="boosted", depth=3)
    assert ids(placed(hits, step, np.zeros(3))) == ids(hits)
    assert ids(placed(hits, step, np.array([0.0, 1.0, 0.0]))) == ["d/1", "d/0", "d/2", "d/3"]
    assert placed([], step, np.zeros(0)) == [] and placed(hits, step, None) == hits


def test_token_vectors_order_as_many_passages_as_their_step_says(retriever: Retriever) -> None:
    steps = (FindStep(find="dense", depth=300), TokensStep(rank="tokens", depth=20))
    query = query_of(steps, "word4", 10)
    assert (query.top_k, query.tokens, query.lists, query.mode) == (20, 20, "dense", "late")
    meta = retriever.meta.model_copy(update={"late_dim": 4})
    question = Retriever(retriever.index, meta).question(  # type: ignore[arg-type]
        query, np.eye(DIM, dtype=np.float32)[0], np.zeros((2, 4), np.float32), 40, 20
    )
    assert question is not None and (question.prefetch, question.rescored, question.fused) == (300, 20, True)


def test_a_smallest_score_is_of_the_pipelines_own_way_to_find(retriever: Retriever) -> None:
    steps = (FindStep(find="hybrid", min_score=0.5),)
    hits = [SearchHit(f"d/{n}", f"d/{n}", "", "", 0, 0, n / 4, {}) for n in range(4)]
    assert ids(found_above(steps, hits, "hybrid")) == ["d/2", "d/3"]
    assert found_above(steps, hits, "bm25") == hits
