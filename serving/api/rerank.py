"""``POST /v1/rerank`` and ``/v2/rerank``, as Cohere's and Jina's; ``POST /rerank``, as Text Embeddings Inference's."""

from fastapi import APIRouter

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.context import request_id
from serving.errors import ApiError
from serving.named import NO_MODELS, NamedModels
from serving.ranking import RankingService
from serving.schemas.rerank import (
    RerankRequest,
    RerankResponse,
    RerankResult,
    RerankUsage,
    TeiRank,
    TeiRerankRequest,
    TextDocument,
)

PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")
ERRORS = documented("bad_request", "invalid_request", "not_found", "overloaded", "unavailable", "timeout")


def router(own: RankingService, named: NamedModels = NO_MODELS) -> APIRouter:
    """The routes of reranking.

    Args:
        own: of the run's ranker, which answers requests that name none.
        named: further models.
    """
    routes = APIRouter(tags=["rerank"], dependencies=[needs("rerank")], responses=documented(*OF_KEYS))

    @routes.post("/v1/rerank", responses=ERRORS)
    @routes.post("/v2/rerank", responses=ERRORS)
    async def rerank(request: RerankRequest) -> RerankResponse:
        """Documents in the order in which they answer a question. Only documents are cut, and a cut is flagged."""
        texts = [one if isinstance(one, str) else one.text for one in request.documents]
        async with named.ranking(request.model, own) as service:
            ranked, tokens = await service.rank(request.query, texts, request.max_tokens_per_doc, "documents")
        results = [
            RerankResult(
                index=one.place,
                relevance_score=one.relevance,
                truncated=one.cut,
                document=TextDocument(text=texts[one.place]) if request.return_documents else None,
            )
            for one in ranked[: request.top_n]
        ]
        usage = RerankUsage(total_tokens=tokens)
        return RerankResponse(id=request_id.get(), model=service.ranker.name, results=results, usage=usage)

    @routes.post("/rerank", responses=ERRORS)
    async def rerank_as_tei(request: TeiRerankRequest) -> list[TeiRank]:
        """The same in the form of Text Embeddings Inference."""
        ranked, _ = await own.rank(request.query, request.texts, None, "texts")
        cut = [one.place for one in ranked if one.cut]
        if cut and not request.truncate:
            raise ApiError("invalid_request", f"text {min(cut)} is longer than the model reads", "texts")
        return [
            TeiRank(
                index=one.place,
                score=one.score if request.raw_scores else one.relevance,
                text=request.texts[one.place] if request.return_text else None,
            )
            for one in ranked
        ]

    return routes
