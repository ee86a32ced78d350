"""Requests and answers of ``/v1/feedback``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer

Action = Literal["shown", "clicked", "chosen", "succeeded", "partly", "failed", "rated"]


class FeedbackEvent(BaseModel):
    """What became of an answer, or of one item of it."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=128, description="of the answer: its header x-request-id")
    action: Action = Field(description="what happened")
    item: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="id of the item; the whole answer where null; required where `chosen` or `clicked`",
    )
    tool: str | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="id of a tool, where the event is of one step of what ran: `succeeded`, `partly` or `failed`",
    )
    step: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="number of that step, from 1: steps are in its order, and a later event replaces an earlier one",
    )
    seconds: float | None = Field(
        None, ge=0, le=1e9, allow_inf_nan=False, description="that the item ran, or the tool, where it is known"
    )
    value: float | None = Field(
        None,
        ge=-1e6,
        le=1e6,
        allow_inf_nan=False,
        description="a reward, where there is one; required where `rated`, and there from 0 to 1",
    )
    session: str | None = Field(None, max_length=128, description="that the caller puts events together by")


class FeedbackRequest(BaseModel):
    """Events to be kept."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"events": [{"request_id": "9e0c1f3f2f8a4d5f", "action": "clicked", "item": "numpy.linalg.lstsq"}]},
                {"events": [{"request_id": "9e0c1f3f2f8a4d5f", "action": "rated", "value": 0.8, "session": "s1"}]},
                {
                    "events": [
                        {"request_id": "9e0c1f3f2f8a4d5f", "action": "chosen", "item": "travel"},
                        {"request_id": "9e0c1f3f2f8a4d5f", "action": "succeeded", "tool": "MapTool", "step": 1},
                        {"request_id": "9e0c1f3f2f8a4d5f", "action": "partly", "seconds": 2.5},
                    ]
                },
            ]
        },
    )

    events: list[FeedbackEvent] = Field(min_length=1, max_length=1000)


class FeedbackResponse(Answer):
    """Events that are on disk."""

    accepted: int
