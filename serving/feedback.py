"""Feedback: what was shown is noted, what became of it is on disk before it is acknowledged."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from serving.context import noted_release, request_id
from serving.errors import ApiError
from serving.journal import Journal
from serving.schemas import SearchRequest, SearchResponse
from serving.schemas.feedback import FeedbackEvent, FeedbackRequest, FeedbackResponse
from serving.schemas.rank import RankRequest, RankResponse

logger = logging.getLogger("catena")

FLUSH_EVERY_S = 1.0
STEPS = ("succeeded", "partly", "failed")
CHOICES = ("chosen", "clicked")


class FeedbackService:
    """Keeps feedback.

    Args:
        journal: that it is kept in; None where the service keeps none.
    """

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._flusher: asyncio.Task[None] | None = None

    async def accept(self, request: FeedbackRequest) -> FeedbackResponse:
        """Keep events; they are on disk when this returns.

        Raises:
            ApiError: if the service keeps none, an event says nothing that counts, or the disk refuses.
        """
        if self._journal is None:
            raise ApiError("not_found", "this service keeps no feedback: serve.feedback is false")
        for place, event in enumerate(request.events):
            problem = _problem(event)
            if problem is not None:
                raise ApiError("invalid_request", f"event {place} is {problem}", "events")
        now = time.time()
        records = [{"kind": "feedback", "time": now, **event.model_dump()} for event in request.events]
        try:
            await self._journal.commit(records)
        except OSError as error:
            logger.error("feedback: %s cannot be written: %s", self._journal.path, error)
            message = "feedback cannot be written now; send these events again, those that were kept count once"
            raise ApiError("unavailable", message, headers={"Retry-After": "5"}) from None
        return FeedbackResponse(accepted=len(records))

    def served(self, request: SearchRequest, answer: SearchResponse) -> None:
        """Note documents that were answered; on disk within a second, or with the next feedback."""
        self._note(
            "served",
            {
                "query": request.query,
                "mode": answer.mode,
                "items": [one.document_id for one in answer.results],
                "scores": [one.score for one in answer.results],
            },
        )

    def ranked(self, request: RankRequest, answer: RankResponse) -> None:
        """Note capabilities that were answered, with the propensity of each; on disk as ``served`` is."""
        self._note(
            "ranked",
            {
                "intent": request.intent,
                "context": request.context,
                "items": [one.id for one in answer.results],
                "scores": [one.score for one in answer.results],
                "propensities": [one.propensity for one in answer.results],
                "explore": answer.explore,
                "model_version": answer.model_version,
            },
        )

    def _note(self, kind: str, answered: Mapping[str, Any]) -> None:
        if self._journal is None:
            return
        asked = {"kind": kind, "time": time.time(), "request_id": request_id.get(), "release": noted_release()}
        self._journal.note({**asked, **answered})
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        assert self._journal is not None, "what was noted was noted there"
        while self._journal.noted:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self._journal.flush()
            except OSError as error:  # noted again, and tried again a second later
                logger.error("feedback: %s cannot be written: %s", self._journal.path, error)

    def close(self) -> None:
        """Write what was noted."""
        if self._flusher is not None:
            self._flusher.cancel()
        if self._journal is not None:
            self._journal.close()


def _problem(event: FeedbackEvent) -> str | None:
    """Why an event by itself says nothing that counts; None where it does."""
    if event.action == "rated":
        if event.value is None:
            return "a rating without a value"
        if not 0 <= event.value <= 1:
            return f"a rating outside 0 to 1: {event.value:g}"
    if (event.tool is not None or event.step is not None) and event.action not in STEPS:
        return f"of a step, so its action is one of {', '.join(STEPS)}"
    if event.step is not None and event.tool is None:
        return "of a step, and names no tool"
    if event.action in CHOICES and event.item is None:
        return f"`{event.action}`, and names no item"
    return None
