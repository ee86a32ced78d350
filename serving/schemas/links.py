"""Requests and answers of ``/v1/links:score``."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import TITLE, Answer

Id = Annotated[str, Field(max_length=2000)]
MOST = 1000  # pairs or targets of one request


class LinkScoreRequest(BaseModel):
    """Pairs of documents, or a new document."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "pairs": [
                        ["numpy.polyfit", "scipy.optimize.nnls"],
                        ["scipy.linalg.lstsq", "scipy.optimize.lsq_linear"],
                    ]
                },
                {"text": "Solve a linear system with a banded matrix.", "top_k": 5},
                {"text": "Least squares.", "links": ["numpy.linalg.lstsq"], "targets": ["scipy.linalg.lstsq"]},
            ]
        },
    )

    pairs: list[tuple[Id, Id]] | None = Field(
        None, min_length=1, max_length=MOST, fail_fast=True, description="ids of documents; none with itself"
    )
    text: str | None = Field(None, description="of a document that is not in the corpus")
    title: str = Field("", max_length=2000, description="of that document")
    links: list[Id] = Field(
        default_factory=list, max_length=MOST, fail_fast=True, description="ids of documents that it is linked with"
    )
    targets: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=MOST,
        fail_fast=True,
        description="ids of documents, of each of which its link is scored; the likeliest of all where absent",
    )
    top_k: int | None = Field(None, ge=1, le=100, description="how many of the likeliest; 10 where absent")


class LinkScore(Answer):
    """How likely one link is."""

    source: str | None = Field(description="the first of the pair; null where it is the new document")
    target: str
    source_title: str = Field(description=TITLE)
    target_title: str = Field(description=TITLE)
    score: float | None = Field(
        description="the link model's own; only its order means anything. Null where the model was shown the link"
    )
    probability: float | None = Field(description="from 0 to 1; null where the model was shown the link")
    known: bool = Field(description="whether the corpus has the link, or the new document brings it")
    relation: str = Field(description="the likeliest")
    direction: Literal["out", "in"] = Field(description="whether the link would lead from source to target, or back")
    reason: str = Field(description="what speaks for it, in a sentence")


class LinkScores(Answer):
    """Links in the order of the request, or the likeliest first."""

    calibrated: bool = Field(
        description="whether probabilities hold as those of GET /v1/links do; else they are of the scores as they are"
    )
    links: list[LinkScore]
