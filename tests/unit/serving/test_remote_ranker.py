"""Rankers and models in other processes: replicas that die, questions that are refused, what a model reads."""

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from data.errors import EncoderUnavailable, TextRefused
from retrieval.blend import Blend, Curve
from serving import remote
from serving.admission import Admission
from serving.embedding import EmbeddingLimits
from serving.errors import ApiError
from serving.ranking import RankingService
from serving.remote import NAMED, RemoteModels, RemoteRanker


class Answered:
    """What a replica answers or fails with, as Ray Serve's responses are awaited."""

    def __init__(self, outcome: object) -> None:
        self._outcome = outcome

    def __await__(self) -> Generator[Any, None, object]:
        return self._settled().__await__()

    async def _settled(self) -> object:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def handle(method: str, *outcomes: object) -> tuple[Any, list[tuple[object, ...]]]:
    """A deployment's handle that answers so, one after the other and then always the last; and what it was asked."""
    asked: list[tuple[object, ...]] = []

    def ask(*given: object) -> Answered:
        asked.append(given)
        return Answered(outcomes[min(len(asked), len(outcomes)) - 1])

    return SimpleNamespace(**{method: SimpleNamespace(remote=ask)}), asked


def rank(ranker: RemoteRanker, query: str) -> object:
    service = RankingService(ranker, EmbeddingLimits(10, 1000), Admission(5.0, 100_000))
    return asyncio.run(service.rank(query, ["a", "b"], None, "documents"))


def test_the_next_replica_is_asked_where_one_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = ([(0.0, False, 5), (2.0, True, 6)], 64, Blend(alone=Curve(intercept=-2.0)))
    at, asked = handle("score", RayActorError(), scores)
    ranker = RemoteRanker(at, "r1", "cross")
    long = "x" * 4000
    assert ranker.work("q", [long], None) == 512  # until the model has said what it reads
    ranked, read = rank(ranker, "q")  # type: ignore[misc]  # of a coroutine
    assert [(one.place, one.cut) for one in ranked] == [(1, True), (0, False)] and read == 11
    assert ranked[0].relevance == pytest.approx(0.5)  # by the curve that came with the scores
    assert asked == [("r1", "q", ["a", "b"], None)] * 2
    assert ranker.work("q", [long], None) == 64
    monkeypatch.setattr(remote, "ASKED_FOR_S", 0.0)
    with pytest.raises(ApiError, match="no replica of the ranker answers: RayActorError") as refused:
        rank(RemoteRanker(handle("score", RayActorError())[0], "r1", "cross"), "q")
    assert refused.value.type == "unavailable"


def test_a_question_that_is_too_long_is_told_as_such() -> None:
    refusal = TextRefused("the question has 99 tokens", "Shorten it.")  # the text does not cross a process boundary
    with pytest.raises(ApiError) as refused:
        rank(RemoteRanker(handle("score", refusal)[0], "r1", "cross"), "q")
    assert (refused.value.type, refused.value.param) == ("invalid_request", "query")


def test_a_model_is_asked_for_its_dimensions_once_and_then_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    at, asked = handle("dim", EncoderUnavailable("the model 'a' cannot be loaded", "Later."), 16)
    models = RemoteModels(at, None)

    async def dims() -> list[int]:
        found = []
        for _ in range(2):
            async with models.encoder("a") as encoder:
                found.append(encoder.dim)
        return found

    with pytest.raises(EncoderUnavailable, match="'a' cannot be loaded"):
        asyncio.run(dims())
    assert asyncio.run(dims()) == [16, 16] and asked == [(NAMED + "a",)] * 2
    monkeypatch.setattr(remote, "ASKED_FOR_S", 0.0)
    with pytest.raises(EncoderUnavailable, match="no replica of the models answers"):
        asyncio.run(RemoteModels(handle("loaded", RayActorError())[0], None).loaded())


def test_an_error_of_the_service_crosses_a_process_boundary_whole() -> None:
    import pickle

    sent = ApiError("overloaded", "too much waits", "model", "queue_full", {"Retry-After": "2"})
    got = pickle.loads(pickle.dumps(sent))
    assert (got.type, got.message, got.param, got.code, got.headers) == (
        *("overloaded", "too much waits", "model", "queue_full"),
        {"Retry-After": "2"},
    )
