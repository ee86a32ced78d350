"""The answer of ``/v1/models``."""

from typing import Any, Literal

from pydantic import Field

from retrieval.config import Mode
from serving.schemas import Answer


class Model(Answer):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="always 0: a model here has no date")
    owned_by: Literal["catena"] = "catena"
    purposes: list[Literal["embeddings", "search", "rerank"]]
    dimensions: int | None = Field(description="of its vectors; null where it makes none, or is not loaded")
    loaded: bool = Field(
        True, description="whether the replica that answers has it loaded; else it is when it is asked for"
    )


class Pipeline(Answer):
    """A way to search."""

    id: str
    mode: Mode = Field(description="how it finds documents, where a request does not say")
    steps: list[dict[str, Any]] = Field(description="as the run file has them, with their defaults")


class Models(Answer):
    """All of them, and the ways to search."""

    object: Literal["list"] = "list"
    data: list[Model]
    pipelines: list[Pipeline]
