"""Requests and answers of ``/v1/bundles``."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from discovery.bundles.config import SourceName
from serving.schemas import Answer

Id = Annotated[str, Field(max_length=2000)]
MOST = 1000  # items of a basket


class BundlesRequest(BaseModel):
    """What bundles are for: a basket, a product, or, where neither is given, a campaign."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"basket": ["whole milk", "yogurt"], "top_k": 3},
                {"item": "sausage", "weights": {"reach": 1, "lift": 2}},
                {"max_price": 10.0, "exclude_items": ["soda"], "top_k": 5},
            ]
        },
    )

    basket: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=MOST,
        description="ids of items; bundles are those it has a part of, and lacks a part of",
    )
    item: Id | None = Field(
        None,
        description="id of an item that every bundle holds; beside a basket it is what would be put into it next, and "
        "may be all that a bundle lacks",
    )
    exclude_items: list[Id] = Field(default_factory=list, max_length=MOST, description="ids of items of no bundle")
    max_price: float | None = Field(None, gt=0, description="of a bundle; those without a price are left out")
    max_items: int | None = Field(None, ge=2, le=6, description="of a bundle")
    sources: list[SourceName] | None = Field(None, description="sources of which one has found a bundle")
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="of objectives; those of the run where empty, 0 where others are named"
    )
    top_k: int = Field(10, ge=1, le=100, description="bundles in the answer")


class ProposedBundle(Answer):
    """A bundle with its price and its reason."""

    bundle_id: str
    title: str
    item_ids: list[str]
    item_names: list[str]
    missing: list[str] = Field(
        description="ids beyond the basket and the item of the request; none where that item completes the bundle"
    )
    score: float = Field(description="weighted sum of its objectives, each over the largest among all bundles")
    price: float | None
    list_price: float | None
    discount: float | None = Field(description="share of the list price")
    reason: str
    sources: list[str]
    objectives: dict[str, float]


class BundlesAnswer(Answer):
    """Bundles, best first."""

    bundles: list[ProposedBundle]
    unknown: list[str] = Field(description="ids of the request that no bundle holds")
