"""What goes over the wire: requests, answers and errors, with the examples that /docs shows."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from retrieval.config import Mode

TITLE = "not unique; the id where the document has no title"


class SearchRequest(BaseModel):
    """A question to the corpus."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "how do I invert a sparse matrix", "top_k": 3},
                {"query": "still waters", "mode": "bm25", "filter": {"testament": "OT", "book": ["Ps", "Isa"]}},
                {"query": "harbour", "filter": {"year": {"gte": 1990}, "author.name": "Ann", "not": {"draft": True}}},
                {"query": "still waters", "cursor": "*", "top_k": 20, "explain": True},
            ]
        },
    )

    query: str = Field(min_length=1, max_length=20_000, pattern=r"\S", description="the question, in words")
    pipeline: str = Field(
        "default", min_length=1, max_length=64, description="way to search, as GET /v1/models names it"
    )
    top_k: int | None = Field(
        None, ge=1, le=100, description="documents wanted, of one page where there is a cursor; 10 where absent"
    )
    mode: Mode | None = Field(
        None,
        description="by vectors (dense), by words (bm25), both fused (hybrid), or the fused list rescored by the "
        "vectors of its tokens (late), where the index holds them; as the pipeline has it where absent",
    )
    bm25_if_encoder_down: bool = Field(
        False, description="search by words alone where the encoder is unavailable, rather than answer 503"
    )
    filter: dict[str, Any] = Field(
        default_factory=dict,
        description="what the documents' metadata must be. Keys, document_id among them, and for each the value or the "
        'list of values allowed, or bounds, {"gte": 1990, "lt": 2000} of gt, gte, lt, lte, or {"exists": true}. All '
        'keys must hold, and under "not" is a filter that must not hold. Nested keys are paths, author.name',
    )
    explain: bool = Field(False, description="whether each result says why it was found")
    cursor: str | None = Field(
        None,
        max_length=100,
        description="'*' begins an answer in pages, and `next_cursor` of a page brings the next one of the same "
        "question; pages are cut from as many documents as the pipeline has candidates",
    )


class Answer(BaseModel):
    """Base of what is answered: a number that JSON cannot hold is an error, where pydantic would write null."""

    model_config = ConfigDict(allow_inf_nan=False)


class ListPlace(Answer):
    """Where the passage stands in one of the lists that the answer was made of."""

    list: Literal["dense", "bm25"]
    rank: int = Field(description="among passages, from 1")
    score: float = Field(description="cosine, or BM25")
    weight: float = Field(description="of the list in the fusion")
    contribution: float = Field(
        description="to the score of the step that found it, as of `index.fusion`; or a lone list's score"
    )


class StepPlace(Answer):
    """Where a step of the pipeline put the document."""

    step: str = Field(
        description="hybrid, dense or bm25, which found it; tokens, links, cross-encoder, boosted, or the import path "
        "of a step of the run's own"
    )
    rank: int = Field(description="among the documents of that step, from 1")
    score: float = Field(description="of that step: the sum of the lists' contributions, MaxSim, a probability, …")


class MatchedWord(Answer):
    """A word of the question that the passage has, by its stem."""

    word: str
    weight: float = Field(description="what it adds to the passage's BM25 score, whatever the pipeline")


class FeatureEffect(Answer):
    """What a feature of the document did to its score."""

    name: str
    value: float | None = Field(description="of this document; null where it has none")
    effect: float = Field(description="on the score of boosted trees (TreeSHAP)")


class Explanation(Answer):
    """Why a document was found."""

    lists: list[ListPlace]
    steps: list[StepPlace] = Field(description="in their order; the last one's score is that of the result")
    matched_words: list[MatchedWord] = Field(description="in the order of the question")
    features: list[FeatureEffect] = Field(
        default_factory=list, description="that moved its score most where boosted trees gave it, the strongest first"
    )


class SearchResult(Answer):
    """A document that was found, by its best passage."""

    document_id: str
    title: str = Field(description=TITLE)
    text: str = Field(description="the passage, or the larger one around it where chunk.strategy is hierarchical")
    score: float = Field(description="comparable within one answer only")
    passage_id: str
    start: int = Field(description="where the passage begins in the document's text, in characters")
    end: int = Field(description="where it ends")
    metadata: dict[str, Any] = Field(description="with the types they have in the corpus; times are ISO 8601")
    explanation: Explanation | None = Field(None, description="where `explain` was asked for")


class Timing(Answer):
    """Where the time of an answer went, in milliseconds."""

    encode: float
    search: float
    rank: float
    total: float


class SearchResponse(Answer):
    """Documents, best first."""

    query: str
    mode: Mode = Field(description="how it was searched; bm25 where the request allowed that and the encoder was down")
    pipeline: str = "default"
    reranked: bool = Field(
        False, description="whether the steps of the pipeline behind finding put the results in order"
    )
    results: list[SearchResult]
    next_cursor: str | None = Field(None, description="of the next page; null behind the last, and without a cursor")
    timing_ms: Timing | None = Field(None, description="where `explain` was asked for")


class Document(Answer):
    """A document as the corpus has it."""

    id: str
    title: str = Field(description=TITLE)
    text: str
    metadata: dict[str, Any] = Field(description="with the types they have in the corpus; times are ISO 8601")


class KnownLink(Answer):
    """A link that the corpus came with."""

    id: str = Field(description="the document at the other end")
    title: str = Field(description=TITLE)
    relation: str
    weight: float
    direction: Literal["out", "in"] = Field(
        description="whether the link leads from the document asked about, or to it"
    )


class DiscoveredLink(Answer):
    """A link that the corpus lacks and the link model proposes."""

    id: str = Field(description="the document at the other end")
    title: str = Field(description=TITLE)
    relation: str
    probability: float = Field(description="calibrated: of links proposed with 0.8, about 8 in 10 hold")
    reason: str = Field(description="why, in a sentence")


class LinksResponse(Answer):
    """A document's links."""

    id: str
    title: str = Field(description=TITLE)
    known: list[KnownLink] = Field(description="strongest first")
    discovered: list[DiscoveredLink] = Field(description="most probable first; empty until `catena discover` has run")


class Health(Answer):
    """That the process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Answer):
    """That model and index have just answered, and how fast."""

    status: Literal["ok"] = "ok"
    encoder: str = Field(description="fingerprint of the model")
    passages: int = Field(description="in the index")
    encode_ms: float
    search_ms: float


ErrorType = Literal[
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "too_large",
    "unsupported_media_type",
    "invalid_request",
    "overloaded",
    "internal",
    "unavailable",
    "timeout",
]


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: ErrorType
    message: str
    param: str | None = Field(None, description="the field, parameter or path that the message is about")
    code: str | None = Field(None, description="what exactly is wrong, as a word for programs")
    request_id: str = Field(description="as in the header x-request-id, and in the server's log")


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "type": "invalid_request",
                        "message": "Input should be greater than or equal to 1, got 0",
                        "param": "top_k",
                        "code": "greater_than_equal",
                        "request_id": "9e0c1f3f2f8a4d5fb4ac3a1dd0b6f1a7",
                    }
                }
            ]
        }
    )

    error: ErrorDetail
