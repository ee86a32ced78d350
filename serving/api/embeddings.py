"""``POST /v1/embeddings``, as OpenAI's, with floats, base64, or the bare bytes of float16."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter, Header, Response

from data.encoders.protocol import Encoded
from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.embedding import EmbeddingService
from serving.schemas.embeddings import EmbeddingsRequest, EmbeddingsResponse

BYTES = "application/octet-stream"


def router(service: EmbeddingService) -> APIRouter:
    """The route of embeddings."""
    routes = APIRouter(tags=["embeddings"], dependencies=[needs("embed")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/embeddings",
        response_model=EmbeddingsResponse,
        responses={
            **documented("bad_request", "invalid_request", "not_found", "overloaded", "unavailable", "timeout"),
            200: {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}},
        },
    )
    async def embeddings(
        request: EmbeddingsRequest, accept: Annotated[str, Header(include_in_schema=False)] = "*/*"
    ) -> Response:
        """Vectors of texts. With `Accept: application/octet-stream`, float16 row after row, little endian."""
        service.check_model(request.model)
        encoded = await service.embed(request.texts(), request.input_type, request.dimensions, request.priority)
        if BYTES in accept:
            return packed(encoded)
        return Response(body(encoded, service.name, request.encoding_format), media_type="application/json")

    return routes


def packed(encoded: Encoded) -> Response:
    """The vectors as they lie in memory; shape, type and tokens are in the headers."""
    rows = encoded.vectors.astype("<f2")
    headers = {
        "x-shape": f"{rows.shape[0]},{rows.shape[1]}",
        "x-dtype": "float16",
        "x-prompt-tokens": str(int(encoded.tokens.sum())),
    }
    return Response(rows.tobytes(), media_type=BYTES, headers=headers)


def body(encoded: Encoded, model: str, form: Literal["float", "base64"]) -> bytes:
    """The answer in JSON: numbers in the fewest digits that give their float32 back."""
    rows = np.ascontiguousarray(encoded.vectors, "<f4")
    each: list[Any] = [base64.b64encode(row).decode() for row in rows] if form == "base64" else list(rows)
    tokens = int(encoded.tokens.sum())
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(each)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
