"""The answer of ``/v1/releases``."""

from pydantic import Field

from serving.schemas import Answer


class ReleaseState(Answer):
    """An index with its encoder and documents, as one run made them."""

    id: str
    made: str = Field(description="when it was first served, ISO 8601")
    passages: int = Field(description="in its index")
    link_model: int | None = Field(description="version in the model registry; null for the run's own, or none")
    capabilities: str | None = Field(
        description="what ranks capabilities: a version in the model registry, or the artifact of a run; null for none"
    )
    bundles: str | None = Field(description="the artifact of the bundles that it proposes; null for none")
    ranker: str | None = Field(description="its cross-encoder; null where its encoder ranks")
    open: bool = Field(description="whether this replica has it open")


class ReleasesState(Answer):
    """Which release answers what."""

    number: int = Field(description="of changes made by `catena deploy`; a replica follows within a second or two")
    live: str
    previous: str | None = Field(description="where a rollback goes")
    canary: str | None
    canary_share: float = Field(description="of callers that it answers")
    shadow: str | None
    shadow_share: float = Field(description="of requests that it is asked too")
    stopped: str = Field(description="why the last canary or shadow was stopped by itself; empty where none was")
    error: str = Field(description="why this replica cannot follow the last change; empty where it does")
    releases: list[ReleaseState]
