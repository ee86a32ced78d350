"""Requests and answers of reranking: as Cohere and Jina have them, and as Text Embeddings Inference has them."""

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas import Answer


class TextDocument(BaseModel):
    """A document given as an object."""

    model_config = ConfigDict(extra="forbid")

    text: str


class RerankRequest(BaseModel):
    """Documents to be put in order for a question."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "invert a matrix", "documents": ["Fourier transform", "inverse of a matrix"], "top_n": 1},
                {"query": "rivers", "documents": [{"text": "still waters"}], "return_documents": True},
            ]
        },
    )

    query: str = Field(min_length=1, max_length=20_000, pattern=r"\S", description="the question")
    documents: list[str | TextDocument] = Field(description="to be put in order; none blank")
    model: str | None = Field(None, description="as GET /v1/models names it; the run's own where absent")
    top_n: int | None = Field(None, ge=1, description="the best so many; all where absent")
    return_documents: bool = Field(False, description="whether the answer repeats the texts")
    max_tokens_per_doc: int | None = Field(
        None, ge=1, description="tokens that are read of a document; as many as the model can where absent"
    )


class RerankResult(Answer):
    """One document in order."""

    index: int = Field(description="place of the document in the request")
    relevance_score: float = Field(description="from 0 to 1")
    truncated: bool = Field(description="whether only its beginning was read")
    document: TextDocument | None = Field(None, description="where `return_documents` was asked for")


class RerankUsage(Answer):
    """Tokens that the model read."""

    total_tokens: int


class RerankResponse(Answer):
    """Documents, best first."""

    id: str = Field(description="of the request")
    model: str
    results: list[RerankResult]
    usage: RerankUsage


class TeiRerankRequest(BaseModel):
    """The same as Text Embeddings Inference takes it."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=20_000, pattern=r"\S")
    texts: list[str]
    raw_scores: bool = Field(False, description="the model's own scores, rather than those from 0 to 1")
    return_text: bool = False
    truncate: bool = Field(True, description="whether a text that is too long may be cut; refused where not")


class TeiRank(Answer):
    """One text in order."""

    index: int
    score: float
    text: str | None = None
