"""Requests and answers of ``/v1/rank``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer, FeatureEffect

Id = Annotated[str, Field(min_length=1, max_length=1000)]
Factor = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Explore = Literal["none", "epsilon", "thompson"]
Missing = Literal["cache", "features"]

MOST_CANDIDATES, MOST_BESIDE = 10_000, 1000  # candidates; tools at hand, and boosts


class RankRequest(BaseModel):
    """An intent, and which capabilities may serve it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"intent": "what will the weather be in Lisbon tomorrow", "top_k": 3},
                {"intent": "book a table", "context": ["MapTool"], "filter": {"team": "travel"}, "min_score": 0.2},
                {"intent": "book a table", "candidates": ["tables", "hotels"], "boosts": {"tables": 2.0}},
                {"intent": "book a table", "explain": True, "explore": "none"},
            ]
        },
    )

    intent: str = Field(min_length=1, max_length=20_000, pattern=r"\S", description="what is wanted, in words")
    context: list[Id] = Field(
        default_factory=list,
        max_length=MOST_BESIDE,
        fail_fast=True,
        description="ids of tools that are at hand or have just run",
    )
    candidates: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=MOST_CANDIDATES,
        fail_fast=True,
        description="ids of the capabilities that may be shown; all of them where absent",
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="what the capabilities' metadata must be, in the form that /v1/search has; document_id is their id",
    )
    boosts: dict[Id, Factor] = Field(
        default_factory=dict,
        max_length=MOST_BESIDE,
        description="factors by the ids of capabilities: the odds of each are multiplied before they are put in order",
    )
    top_k: int = Field(10, ge=1, le=100, description="capabilities wanted")
    min_score: float | None = Field(
        None, ge=0, le=1, description="least calibrated probability of success, before boosts, of what is shown"
    )
    explain: bool = Field(False, description="whether each result has the parts of its score")
    explore: Explore | None = Field(
        None,
        description="how the order of what is shown is drawn: as scored (none), any order with a small probability "
        "(epsilon), or by draws around the scores and with that probability any one first (thompson); as "
        "serve.rank.explore has it where absent",
    )


class RankParts(Answer):
    """What a score is made of."""

    text: float = Field(description="of the raw score: what intent and tools at hand say, by the capability's key")
    past: float = Field(description="of the raw score: what is known of the capability, by its features")
    features: list[FeatureEffect] = Field(description="that make up `past`, the strongest first")
    probability: float = Field(description="that the raw score stands for, before the boost")
    boost: float = Field(description="factor of its odds; 1 where none was asked for")
    ranked: int = Field(description="its rank by its score, before exploration")


class RankedCapability(Answer):
    """A capability that is shown."""

    id: str
    rank: int = Field(description="as it is to be shown, from 1")
    score: float = Field(description="probability of success, with its boost; calibrated where there is none")
    raw_score: float = Field(description="of the ranker; only its order within an answer means anything")
    propensity: float = Field(
        description="probability that exploration puts it first; those of an answer sum to 1. It is logged"
    )
    text: str = Field(description="what the capability says it does")
    metadata: dict[str, Any] = Field(description="of the capability")
    parts: RankParts | None = Field(None, description="where `explain` was asked for")


class RankTiming(Answer):
    """Where the time of an answer went, in milliseconds."""

    encode: float
    rank: float
    total: float


class RankResponse(Answer):
    """Capabilities, in the order in which they are to be shown."""

    request_id: str = Field(description="that feedback names, as in the header x-request-id")
    model: str = Field(description="kind of the ranker: cosine, centroid, hypergraph")
    model_version: str
    features_version: str | None = Field(description="of the features that counted; null where none did")
    explore: Explore = Field(description="how the order was drawn")
    explored: bool = Field(description="whether another one than the best is first")
    results: list[RankedCapability]
    degraded: list[Missing] = Field(
        description="what was missing: `cache`, a Redis that keeps vectors did not answer; `features`, nothing is "
        "known of the capabilities' past: text alone counts, and thompson draws as if nothing had run"
    )
    unknown: list[str] = Field(
        description="ids of the request that the ranker does not know: of candidates, boosts and tools at hand. They "
        "were left out"
    )
    timing_ms: RankTiming | None = Field(None, description="where `explain` was asked for")
