"""The answer of ``/v1/models``."""

from typing import Literal

from pydantic import Field

from serving.schemas import Answer


class Model(Answer):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="always 0: a model here has no date")
    owned_by: Literal["catena"] = "catena"
    purposes: list[Literal["embeddings", "search", "rerank"]]
    dimensions: int | None = Field(description="of its vectors; null where it makes none")


class Models(Answer):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]
