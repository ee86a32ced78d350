"""Requests and answers of ``PUT`` and ``DELETE /v1/documents``."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer

Id = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]


class NewDocument(BaseModel):
    """A document to be put: it takes the place of the one that has its id."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    title: str = Field("", max_length=10_000)
    text: str = Field("", description="a title alone is enough; serve.max_text_chars is the longest")
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description="for filters: keys that the index has, and values of their kinds; others are kept and found by "
        "filters from the next index on",
    )
    time: datetime | None = Field(None, description="of the document; without a zone it is in UTC")


class PutRequest(BaseModel):
    """Documents to be put."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"documents": [{"id": "note/1", "title": "Still waters", "text": "Beside them it is green."}]},
                {"documents": [{"id": "note/2", "text": "A harbour.", "metadata": {"year": 1999, "tags": ["sea"]}}]},
            ]
        },
    )

    documents: list[NewDocument] = Field(min_length=1, max_length=256, description="each id once")


class DeleteRequest(BaseModel):
    """Documents to be deleted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": ["note/1", "note/2"]}]})

    ids: list[Id] = Field(min_length=1, max_length=1000)


class Written(Answer):
    """What was done; it is on disk, and searches find it so."""

    created: int = Field(0, description="documents put under a new id")
    replaced: int = Field(0, description="documents put in the place of one")
    deleted: int = 0
    unknown: int = Field(0, description="ids to be deleted under which there was nothing")
    live: int = Field(description="documents beside the index after this; `catena index` puts them into it")
    version: int = Field(description="number of the last write; it only grows")
